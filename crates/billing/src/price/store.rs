//! SQL of prices.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use outbox::NewEvent;
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Model, Price, PriceKey};
use crate::ids::PriceId;
use crate::money::Currency;

pub(super) async fn find(
    connection: &mut PgConnection,
    keys: &[&PriceKey],
) -> Result<Vec<Price>, sqlx::Error> {
    let columns = KeyColumns::of(keys.iter().copied());
    let rows = sqlx::query!(
        r#"
        -- price: find by keys
        select price_id, price.code, price.currency, price.unit_price, unit, description
        from unnest($1::text[], $2::text[], $3::text[], $4::numeric[])
            as wanted (code, model, currency, unit_price)
        join billing.price
            on price.code = wanted.code
            and price.model = wanted.model
            and price.currency = wanted.currency
            and price.unit_price is not distinct from wanted.unit_price
        "#,
        &columns.code as &[&str],
        &columns.model as &[&str],
        &columns.currency as &[&str],
        &columns.unit_price as &[Option<Decimal>],
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency = Currency::parse(&row.currency);
            Ok(Price {
                price_id: PriceId::from(row.price_id),
                key: PriceKey {
                    code: row.code,
                    model: model(row.unit_price),
                    currency: currency.map_err(|err| sqlx::Error::Decode(Box::new(err)))?,
                },
                unit: row.unit,
                description: row.description,
            })
        })
        .collect()
}

/// The table ties the rate to the model.
fn model(unit_price: Option<Decimal>) -> Model {
    unit_price.map_or(Model::PassThrough, |unit_price| Model::PerUnit {
        unit_price,
    })
}

/// Inserts those that nobody else has inserted; tells which.
pub(super) async fn insert(
    connection: &mut PgConnection,
    prices: &[(Price, NewEvent)],
    now: DateTime<Utc>,
) -> Result<HashSet<PriceId>, sqlx::Error> {
    let keys = KeyColumns::of(prices.iter().map(|(price, _)| &price.key));
    let ids: Vec<Uuid> = prices
        .iter()
        .map(|(price, _)| price.price_id.into())
        .collect();
    let units: Vec<&str> = prices
        .iter()
        .map(|(price, _)| price.unit.as_str())
        .collect();
    let descriptions: Vec<&str> = prices
        .iter()
        .map(|(price, _)| price.description.as_str())
        .collect();
    let announced_by: Vec<Uuid> = prices.iter().map(|(_, event)| event.event_id).collect();
    let inserted = sqlx::query_scalar!(
        r#"
        -- price: create
        insert into billing.price (
            price_id, code, model, currency, unit_price, unit, description, announced_by,
            created_at
        )
        select
            price_id, code, model, currency, unit_price, unit, description, announced_by, $9
        from unnest(
            $1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::text[], $7::text[],
            $8::uuid[]
        ) with ordinality as wanted (
            price_id, code, model, currency, unit_price, unit, description, announced_by, nth
        )
        order by nth
        on conflict on constraint price_stands_once do nothing
        returning price_id
        "#,
        &ids,
        &keys.code as &[&str],
        &keys.model as &[&str],
        &keys.currency as &[&str],
        &keys.unit_price as &[Option<Decimal>],
        &units as &[&str],
        &descriptions as &[&str],
        &announced_by,
        now,
    )
    .fetch_all(connection)
    .await?;
    Ok(inserted.into_iter().map(PriceId::from).collect())
}

#[derive(Default)]
struct KeyColumns<'a> {
    code: Vec<&'a str>,
    model: Vec<&'static str>,
    currency: Vec<&'static str>,
    unit_price: Vec<Option<Decimal>>,
}

impl<'a> KeyColumns<'a> {
    fn of(keys: impl IntoIterator<Item = &'a PriceKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.code.push(&key.code);
            columns.model.push(key.model.name());
            columns.currency.push(key.currency.code());
            columns.unit_price.push(key.model.unit_price());
        }
        columns
    }
}

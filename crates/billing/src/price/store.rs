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
        select price_id, price.code, price.model, price.currency, price.unit_price,
            price.monthly_price, price.cap_hours, unit, description
        from unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::int[])
            as wanted (code, model, currency, unit_price, monthly_price, cap_hours)
        join billing.price
            on price.code = wanted.code
            and price.model = wanted.model
            and price.currency = wanted.currency
            and price.unit_price is not distinct from wanted.unit_price
            and price.monthly_price is not distinct from wanted.monthly_price
            and price.cap_hours is not distinct from wanted.cap_hours
        "#,
        &columns.code as &[&str],
        &columns.model as &[&str],
        &columns.currency as &[&str],
        &columns.unit_price as &[Option<Decimal>],
        &columns.monthly_price as &[Option<Decimal>],
        &columns.cap_hours as &[Option<i32>],
    )
    .fetch_all(connection)
    .await?;
    rows.into_iter()
        .map(|row| {
            let currency = Currency::parse(&row.currency);
            let cap = row.monthly_price.zip(row.cap_hours);
            Ok(Price {
                price_id: PriceId::from(row.price_id),
                key: PriceKey {
                    code: row.code,
                    model: model(&row.model, row.unit_price, cap),
                    currency: currency.map_err(|err| sqlx::Error::Decode(Box::new(err)))?,
                },
                unit: row.unit,
                description: row.description,
            })
        })
        .collect()
}

/// The table ties rate and cap to the model.
fn model(name: &str, unit_price: Option<Decimal>, cap: Option<(Decimal, i32)>) -> Model {
    match (name, unit_price, cap) {
        (_, Some(unit_price), Some((monthly_price, cap_hours))) => Model::HourlyCapped {
            unit_price,
            monthly_price,
            cap_hours: u16::try_from(cap_hours).unwrap_or(u16::MAX),
        },
        ("flat", Some(unit_price), None) => Model::Flat { unit_price },
        (_, Some(unit_price), None) => Model::PerUnit { unit_price },
        (_, None, _) => Model::PassThrough,
    }
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
            price_id, code, model, currency, unit_price, monthly_price, cap_hours, unit,
            description, announced_by, created_at
        )
        select price_id, code, model, currency, unit_price, monthly_price, cap_hours, unit,
            description, announced_by, $11
        from unnest(
            $1::uuid[], $2::text[], $3::text[], $4::text[], $5::numeric[], $6::numeric[],
            $7::int[], $8::text[], $9::text[], $10::uuid[]
        ) with ordinality as wanted (
            price_id, code, model, currency, unit_price, monthly_price, cap_hours, unit,
            description, announced_by, nth
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
        &keys.monthly_price as &[Option<Decimal>],
        &keys.cap_hours as &[Option<i32>],
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
    monthly_price: Vec<Option<Decimal>>,
    cap_hours: Vec<Option<i32>>,
}

impl<'a> KeyColumns<'a> {
    fn of(keys: impl IntoIterator<Item = &'a PriceKey>) -> Self {
        let mut columns = Self::default();
        for key in keys {
            columns.code.push(&key.code);
            columns.model.push(key.model.name());
            columns.currency.push(key.currency.code());
            columns.unit_price.push(key.model.unit_price());
            let (monthly_price, cap_hours) = key.model.cap().unzip();
            columns.monthly_price.push(monthly_price);
            columns.cap_hours.push(cap_hours.map(i32::from));
        }
        columns
    }
}

//! SQL of usage.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use outbox::UnitOfWork;
use outbox::copy::{Rows, Target};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{UsageEvent, UsageKey};
use crate::ids::{AccountId, PriceId};
use crate::money::exact_add;

/// The bodies of those events that are recorded.
pub(super) async fn body_hashes<'a>(
    connection: &mut PgConnection,
    keys: impl Iterator<Item = &'a UsageKey>,
) -> Result<Vec<(UsageKey, Vec<u8>)>, sqlx::Error> {
    let (sources, ids): (Vec<&str>, Vec<&str>) = keys
        .map(|key| (key.source.as_str(), key.event_id.as_str()))
        .unzip();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = sqlx::query!(
        r#"
        -- usage: find what is known
        select source, event_id, body_hash
        from billing.usage_event
        join unnest($1::text[], $2::text[]) as wanted (source, event_id) using (source, event_id)
        "#,
        &sources as &[&str],
        &ids as &[&str],
    )
    .fetch_all(connection)
    .await?;
    let known = |source, event_id| UsageKey { source, event_id };
    Ok(rows
        .into_iter()
        .map(|row| (known(row.source, row.event_id), row.body_hash))
        .collect())
}

/// Adds the events, each with its period, that nobody else has added, and their sums; tells which.
pub(super) async fn add(
    connection: &mut PgConnection,
    events: &[(&UsageEvent, i32)],
) -> Result<Vec<UsageKey>, sqlx::Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let columns = Columns::of(events);
    // The sums are ordered by their key: two recorders take their locks in the same order.
    let rows = sqlx::query!(
        r#"
        -- usage: add events and sums
        with added as (
            insert into billing.usage_event (
                source, event_id, body_hash, account_id, price_id, usage_month, period_seq,
                quantity, amount, used_at
            )
            select
                source, event_id, body_hash, account_id, price_id, usage_month, period_seq,
                quantity, amount, used_at
            from unnest(
                $1::text[], $2::text[], $3::bytea[], $4::uuid[], $5::uuid[], $6::date[], $7::int[],
                $8::numeric[], $9::numeric[], $10::timestamptz[]
            ) with ordinality as fresh (
                source, event_id, body_hash, account_id, price_id, usage_month, period_seq,
                quantity, amount, used_at, nth
            )
            order by nth
            on conflict (source, event_id) do nothing
            returning
                source, event_id, account_id, period_seq, price_id, usage_month, quantity, amount,
                ('x' || encode(substr(body_hash, 1, 8), 'hex'))::bit(64)::bigint as digest
        ),
        summed as (
            insert into billing.usage_sum as s (
                account_id, period_seq, price_id, usage_month, quantity, amount, events, digest
            )
            select
                account_id, period_seq, price_id, usage_month,
                sum(quantity), sum(amount), count(*), bit_xor(digest)
            from added
            group by account_id, period_seq, price_id, usage_month
            order by account_id, period_seq, price_id, usage_month
            on conflict (account_id, period_seq, price_id, usage_month) do update
            set quantity = s.quantity + excluded.quantity,
                amount = s.amount + excluded.amount,
                events = s.events + excluded.events,
                digest = s.digest # excluded.digest
        )
        select source, event_id from added
        "#,
        &columns.source as &[&str],
        &columns.event_id as &[&str],
        &columns.body_hash as &[&[u8]],
        &columns.account_id,
        &columns.price_id,
        &columns.usage_month,
        &columns.period_seq,
        &columns.quantity,
        &columns.amount,
        &columns.used_at,
    )
    .fetch_all(connection)
    .await?;
    let key = |source, event_id| UsageKey { source, event_id };
    Ok(rows
        .into_iter()
        .map(|row| key(row.source, row.event_id))
        .collect())
}

const EVENTS: Target = Target {
    table: "billing.usage_event",
    columns: &[
        "source",
        "event_id",
        "body_hash",
        "account_id",
        "price_id",
        "usage_month",
        "period_seq",
        "quantity",
        "amount",
        "used_at",
    ],
};

/// Adds events that nobody has added to first periods, and sums them.
pub(super) async fn copy(tx: &mut UnitOfWork, events: &[UsageEvent]) -> Result<(), sqlx::Error> {
    let mut rows = Rows::new(EVENTS);
    for event in events {
        rows.row()
            .put(&event.key.source)
            .put(&event.key.event_id)
            .put(&event.body_hash[..])
            .put(Uuid::from(event.account_id))
            .put(Uuid::from(event.price_id))
            .put(event.usage_month)
            .put(FIRST_SEQ)
            .put(event.quantity.normalize())
            .put(event.amount.normalize())
            .put(event.used_at);
    }
    tx.copy(rows).await?;
    let mut sums = Rows::new(SUMS);
    for ((account, price, month), sum) in summed(events)? {
        sums.row()
            .put(Uuid::from(account))
            .put(FIRST_SEQ)
            .put(Uuid::from(price))
            .put(month)
            .put(sum.quantity)
            .put(sum.amount)
            .put(sum.events)
            .put(sum.digest);
    }
    tx.copy(sums).await?;
    Ok(())
}

/// The number of an account's first period.
const FIRST_SEQ: i32 = 0;

const SUMS: Target = Target {
    table: "billing.usage_sum",
    columns: &[
        "account_id",
        "period_seq",
        "price_id",
        "usage_month",
        "quantity",
        "amount",
        "events",
        "digest",
    ],
};

#[derive(Default)]
struct Summed {
    quantity: Decimal,
    amount: Decimal,
    events: i64,
    digest: i64,
}

/// What the statement of [`add`] sums, summed here.
fn summed(
    events: &[UsageEvent],
) -> Result<BTreeMap<(AccountId, PriceId, NaiveDate), Summed>, sqlx::Error> {
    let mut sums: BTreeMap<_, Summed> = BTreeMap::new();
    let add = |a, b| exact_add(a, b).map_err(|err| sqlx::Error::Encode(Box::new(err)));
    for event in events {
        let key = (event.account_id, event.price_id, event.usage_month);
        let sum = sums.entry(key).or_default();
        sum.quantity = add(sum.quantity, event.quantity)?;
        sum.amount = add(sum.amount, event.amount)?;
        sum.events += 1;
        let (head, _) = event
            .body_hash
            .split_first_chunk()
            .expect("a hash has 32 bytes");
        sum.digest ^= i64::from_be_bytes(*head);
    }
    Ok(sums)
}

#[derive(Default)]
struct Columns<'a> {
    source: Vec<&'a str>,
    event_id: Vec<&'a str>,
    body_hash: Vec<&'a [u8]>,
    account_id: Vec<Uuid>,
    price_id: Vec<Uuid>,
    usage_month: Vec<NaiveDate>,
    period_seq: Vec<i32>,
    quantity: Vec<Decimal>,
    amount: Vec<Decimal>,
    used_at: Vec<DateTime<Utc>>,
}

impl<'a> Columns<'a> {
    fn of(events: &[(&'a UsageEvent, i32)]) -> Self {
        let mut columns = Self::default();
        for (event, period_seq) in events {
            columns.source.push(&event.key.source);
            columns.event_id.push(&event.key.event_id);
            columns.body_hash.push(&event.body_hash);
            columns.account_id.push(event.account_id.into());
            columns.price_id.push(event.price_id.into());
            columns.usage_month.push(event.usage_month);
            columns.period_seq.push(*period_seq);
            columns.quantity.push(event.quantity.normalize());
            columns.amount.push(event.amount.normalize());
            columns.used_at.push(event.used_at);
        }
        columns
    }
}

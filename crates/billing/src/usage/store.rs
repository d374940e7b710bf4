//! SQL of usage.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{UsageEvent, UsageKey};

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

//! Recording a chunk: its accounts, its prices, then its usage, each as one set.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, Utc};
use outbox::UnitOfWork;

use super::super::{BadRow, ImportError};
use super::SOURCE;
use super::column::Column;
use super::row::Row;
use crate::account::{self, Account};
use crate::ids::{AccountId, PriceId};
use crate::period::PeriodError;
use crate::price::{self, PriceKey};
use crate::usage::{self, Changed, Recorded, UsageError, UsageEvent, UsageKey};

/// What became of a chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ChunkOutcome {
    /// How many rows were recorded, and how many had been before.
    pub recorded: Recorded,
    /// Rows that were left out, by line: their account has another currency, their id was recorded
    /// with other figures, or their month is out of reach.
    pub refused: Vec<BadRow>,
    /// The accounts that the rows bill.
    pub accounts: BTreeSet<AccountId>,
    /// The months that the rows are of, by their first days.
    pub months: BTreeSet<NaiveDate>,
}

/// Records rows in the caller's transaction. Rows that cannot be billed are left out and named.
///
/// # Errors
/// The database's; roll back then.
pub async fn import_chunk(
    tx: &mut UnitOfWork,
    rows: &[Row],
    now: DateTime<Utc>,
) -> Result<ChunkOutcome, ImportError> {
    let accounts = accounts(tx, rows, now).await?;
    let mut outcome = ChunkOutcome::default();
    let mut billed: Vec<(&Row, AccountId)> = Vec::with_capacity(rows.len());
    for row in rows {
        let account = &accounts[&row.account.external_id];
        if account.currency == row.account.currency {
            billed.push((row, account.account_id));
        } else {
            outcome.refused.push(in_another_currency(row, account));
        }
    }
    let prices = prices(tx, &billed, now).await?;
    let events: Vec<(u64, UsageEvent)> = billed
        .into_iter()
        .map(|(row, account_id)| (row.line, event(row, account_id, prices[&row.price.key])))
        .collect();
    record(tx, events, &mut outcome).await?;
    outcome.refused.sort_by_key(|bad| bad.line);
    Ok(outcome)
}

async fn accounts(
    tx: &mut UnitOfWork,
    rows: &[Row],
    now: DateTime<Utc>,
) -> Result<BTreeMap<String, Account>, ImportError> {
    let mut wanted = BTreeMap::new();
    for row in rows {
        wanted
            .entry(&row.account.external_id)
            .or_insert(&row.account);
    }
    let wanted: Vec<_> = wanted.into_values().cloned().collect();
    let accounts = account::create_all(tx, &wanted, now).await?;
    Ok(accounts
        .into_iter()
        .map(|account| (account.external_id.clone(), account))
        .collect())
}

async fn prices(
    tx: &mut UnitOfWork,
    billed: &[(&Row, AccountId)],
    now: DateTime<Utc>,
) -> Result<BTreeMap<PriceKey, PriceId>, ImportError> {
    let mut wanted = BTreeMap::new();
    for (row, _) in billed {
        wanted.entry(&row.price.key).or_insert(&row.price);
    }
    let wanted: Vec<_> = wanted.into_values().cloned().collect();
    let prices = price::create_all(tx, &wanted, now).await?;
    Ok(prices
        .into_iter()
        .map(|price| (price.key, price.price_id))
        .collect())
}

fn event(row: &Row, account_id: AccountId, price_id: PriceId) -> UsageEvent {
    UsageEvent {
        key: UsageKey {
            source: SOURCE.to_owned(),
            event_id: row.event_id.clone(),
        },
        account_id,
        price_id,
        usage_month: row.month,
        quantity: row.quantity,
        amount: row.amount,
        used_at: row.used_at,
        body_hash: row.body_hash,
    }
}

/// Records what can be, and refuses the rest.
async fn record(
    tx: &mut UnitOfWork,
    mut numbered: Vec<(u64, UsageEvent)>,
    outcome: &mut ChunkOutcome,
) -> Result<(), ImportError> {
    loop {
        let events: Vec<UsageEvent> = numbered.iter().map(|(_, event)| event.clone()).collect();
        match usage::record_unchanged(tx, &events).await {
            // Told before anything was written: the others can still be recorded.
            Err(UsageError::Period(PeriodError::TooFar { account_id, month })) => {
                refuse_month(&mut numbered, (account_id, month), outcome);
            }
            Err(err) => return Err(err.into()),
            Ok((recorded, changed)) => {
                outcome.recorded = recorded;
                outcome.accounts = events.iter().map(|event| event.account_id).collect();
                outcome.months = events.iter().map(|event| event.usage_month).collect();
                refuse_changed(&numbered, &changed, outcome);
                return Ok(());
            }
        }
    }
}

fn refuse_month(
    numbered: &mut Vec<(u64, UsageEvent)>,
    (account_id, month): (AccountId, NaiveDate),
    outcome: &mut ChunkOutcome,
) {
    let refused = |event: &UsageEvent| event.account_id == account_id && event.usage_month == month;
    for (line, _) in numbered.extract_if(.., |(_, event)| refused(event)) {
        let problem = format!("{month} is more than fifty years after the account's last month");
        outcome
            .refused
            .push(bad(line, Column::BillingPeriodStart, problem));
    }
}

fn refuse_changed(numbered: &[(u64, UsageEvent)], changed: &Changed, outcome: &mut ChunkOutcome) {
    for (line, event) in numbered {
        if changed.contains(&(event.key.clone(), event.body_hash)) {
            let id = &event.key.event_id;
            let problem = format!("{id:?} was recorded before with other figures");
            outcome.refused.push(bad(*line, Column::Id, problem));
        }
    }
}

fn in_another_currency(row: &Row, account: &Account) -> BadRow {
    let problem = format!(
        "account {:?} is billed in {}, not in {}",
        account.external_id, account.currency, row.account.currency,
    );
    bad(row.line, Column::BillingCurrency, problem)
}

fn bad(line: u64, column: Column, problem: String) -> BadRow {
    BadRow {
        line,
        column: Some(column.name()),
        problem,
    }
}

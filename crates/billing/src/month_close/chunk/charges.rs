//! What the accounts of a chunk are charged for: sums of usage and subscriptions.

mod store;

use std::collections::HashMap;

use sqlx::PgConnection;
use uuid::Uuid;

use super::store::{PeriodKey, Periods};
use crate::invoice::{Held, Sum};

/// What is charged for a period.
#[derive(Debug, Default)]
pub(super) struct Charges {
    pub(super) sums: Vec<Sum>,
    pub(super) held: Vec<Held>,
    /// A price that is named and does not exist: no foreign key keeps that from happening.
    pub(super) missing: Option<Uuid>,
}

/// The charges of locked periods, final because whoever adds to them needs the account's lock.
/// A period without any is not among them.
pub(super) async fn read(
    tx: &mut PgConnection,
    periods: &Periods,
) -> Result<HashMap<PeriodKey, Charges>, sqlx::Error> {
    let sums = store::sums(tx, periods).await?;
    let held = store::held(tx, periods).await?;
    let prices = sums.iter().map(|row| row.price_id);
    let prices = prices.chain(held.iter().map(|row| row.price_id));
    let terms = store::terms(tx, prices.collect()).await?;
    let mut charges: HashMap<PeriodKey, Charges> = HashMap::with_capacity(periods.seq.len());
    for row in sums {
        let of = charges.entry((row.account_id.into(), row.period_seq));
        let of = of.or_default();
        let Some(terms) = terms.get(&row.price_id).cloned() else {
            of.missing = Some(row.price_id);
            continue;
        };
        of.sums.push(Sum {
            terms,
            usage_month: row.usage_month,
            quantity: row.quantity,
            amount: row.amount,
            events: row.events,
            digest: row.digest,
        });
    }
    for row in held {
        let of = charges.entry((row.account_id.into(), row.period_seq));
        let of = of.or_default();
        let Some(terms) = terms.get(&row.price_id).cloned() else {
            of.missing = Some(row.price_id);
            continue;
        };
        of.held.push(Held {
            terms,
            subscription: row.subscription_id.into(),
            name: row.external_id,
            quantity: row.quantity,
            start_at: row.start_at,
            end_at: row.end_at,
        });
    }
    Ok(charges)
}

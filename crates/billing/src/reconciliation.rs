//! Reconciliation: the gateway's statement beside our own books, movement by movement.
//!
//! The gateway's word is read first and our books after it, so that while charges go on we know of
//! everything that the statement shows, unless something is wrong. That both sums are equal holds
//! only at rest.
//!
//! Owns nothing. Reads `billing.payment`, `billing.refund`, `billing.transfer`.

mod store;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::PgPool;

use crate::check::{Outcome, ROWS_MAX, Scope};
use crate::gateway::{CallError, Gateway, Movement};
use crate::money::{Currency, Money, MoneyError};

/// Why books could not be compared.
#[derive(Debug, thiserror::Error)]
pub enum ReconciliationError {
    /// The gateway did not give its statement.
    #[error("the gateway did not give its statement")]
    Statement(#[from] CallError),
    /// A sum does not fit, or a currency is not known to this program.
    #[error("could not add up the statement")]
    Money(#[from] MoneyError),
    /// The database refused.
    #[error("could not read the cash account")]
    Database(#[from] sqlx::Error),
}

/// What comparing came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reconciliation {
    /// Movements on the statement.
    pub movements: u64,
    /// What they sum up to, by currency.
    pub statement: BTreeMap<Currency, Money>,
    /// What the cash account holds of this gateway, by currency.
    pub cash: BTreeMap<Currency, Money>,
    /// How many movements our books do not show as they are.
    pub strange: u64,
    /// The first of them, at most [`ROWS_MAX`].
    pub rows: Vec<Value>,
}

/// Compares a gateway's statement with the cash account.
///
/// # Errors
/// [`ReconciliationError`].
pub async fn reconcile(
    pool: &PgPool,
    name: &str,
    gateway: &dyn Gateway,
) -> Result<Reconciliation, ReconciliationError> {
    let mut found = Reconciliation::default();
    let mut page = gateway.statement(0).await?;
    while let Some(last) = page.last() {
        // The next page is drawn up while this one is compared.
        let (next, taken) =
            tokio::join!(gateway.statement(last.seq), found.take(pool, name, &page));
        taken?;
        page = next?;
    }
    found.cash = store::cash(pool, name).await?;
    Ok(found)
}

impl Reconciliation {
    async fn take(
        &mut self,
        pool: &PgPool,
        name: &str,
        page: &[Movement],
    ) -> Result<(), ReconciliationError> {
        let ours = store::captured(pool, name, page).await?;
        for movement in page {
            self.movements += 1;
            let currency = movement.money.currency();
            let zero = Money::zero(currency);
            let sum = self.statement.entry(currency).or_insert(zero);
            *sum = sum.add(movement.money)?;
            if ours.get(&movement.reference) != Some(&movement.money) {
                self.note(movement, ours.get(&movement.reference));
            }
        }
        Ok(())
    }

    fn note(&mut self, movement: &Movement, ours: Option<&Money>) {
        self.strange += 1;
        if self.rows.len() < ROWS_MAX {
            self.rows.push(json!({
                "reference": movement.reference,
                "gateway_ref": movement.gateway_ref,
                "at": movement.at,
                "statement": movement.money.to_string(),
                "books": ours.map(Money::to_string),
            }));
        }
    }

    /// The same as a check's outcome.
    #[must_use]
    pub fn outcome(&self, scope: Scope) -> Outcome {
        let mut rows = self.rows.clone();
        let mut violations = self.strange;
        if scope == Scope::AtRest && self.statement != self.cash {
            violations += 1;
            let shown = |sums: &BTreeMap<Currency, Money>| {
                sums.values().map(Money::to_string).collect::<Vec<_>>()
            };
            rows.push(json!({ "statement": shown(&self.statement), "cash": shown(&self.cash) }));
        }
        Outcome {
            code: "G1",
            title: "the gateway's statement is the cash account",
            violations: i64::try_from(violations).unwrap_or(i64::MAX),
            rows,
        }
    }
}

//! An account as JSON, with what it is held for and what it has in advance.

use std::collections::HashMap;

use billing::account::Account;
use billing::credit;
use billing::hold::{self, Hold};
use billing::ids::AccountId;
use billing::money::{Currency, Money};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgConnection;
use uuid::Uuid;

use crate::problem::Problem;

/// An account.
#[derive(Debug, Serialize)]
pub(crate) struct AccountView {
    account_id: AccountId,
    external_id: String,
    name: String,
    currency: Currency,
    zone: &'static str,
    email: Option<String>,
    /// Whether it gets no service.
    held: bool,
    holds: Vec<HoldView>,
    /// What it has in advance.
    credit: String,
    credit_minor: i64,
}

#[derive(Debug, Serialize)]
struct HoldView {
    reason: String,
    cause: String,
    placed_at: DateTime<Utc>,
}

/// How accounts stand; those that are not held, or have nothing in advance, are missing.
#[derive(Debug, Default)]
pub(super) struct Standings {
    holds: HashMap<AccountId, Vec<Hold>>,
    credits: HashMap<AccountId, Money>,
}

impl Standings {
    async fn read(connection: &mut PgConnection, ids: &[AccountId]) -> Result<Self, Problem> {
        Ok(Self {
            holds: hold::open_of_all(connection, ids).await?,
            credits: credit::balances(connection, ids).await?,
        })
    }

    fn take(&mut self, account: &Account) -> (Vec<Hold>, Money) {
        let id = &account.account_id;
        let credit = self.credits.remove(id);
        (
            self.holds.remove(id).unwrap_or_default(),
            credit.unwrap_or_else(|| Money::zero(account.currency)),
        )
    }
}

impl AccountView {
    pub(super) fn new(account: Account, standings: &mut Standings) -> Self {
        let (holds, credit) = standings.take(&account);
        let holds = holds.into_iter().map(|hold| HoldView {
            reason: hold.reason,
            cause: hold.cause,
            placed_at: hold.placed_at,
        });
        let holds: Vec<HoldView> = holds.collect();
        Self {
            account_id: account.account_id,
            external_id: account.external_id,
            name: account.name,
            currency: account.currency,
            zone: account.zone.name(),
            email: account.email,
            held: !holds.is_empty(),
            holds,
            credit: credit.decimal(),
            credit_minor: credit.minor(),
        }
    }

    pub(super) fn place(&self) -> String {
        Uuid::from(self.account_id).to_string()
    }
}

pub(super) async fn one(
    connection: &mut PgConnection,
    account: Account,
) -> Result<AccountView, Problem> {
    let mut standings = Standings::read(connection, &[account.account_id]).await?;
    Ok(AccountView::new(account, &mut standings))
}

pub(super) async fn all(
    connection: &mut PgConnection,
    accounts: Vec<Account>,
) -> Result<Vec<AccountView>, Problem> {
    let ids: Vec<AccountId> = accounts.iter().map(|account| account.account_id).collect();
    let mut standings = Standings::read(connection, &ids).await?;
    let views = accounts.into_iter();
    Ok(views
        .map(|account| AccountView::new(account, &mut standings))
        .collect())
}

//! Cards for a sample: which account pays with which card, and where its notices go.
//!
//! A table of its own beside the usage, with the columns `account`, `email`, `brand`, `last_four`
//! and `token`. An account without a token has no card. Made through the commands that everybody
//! uses, so each change has its event.

use std::io::Read;

use chrono::{DateTime, Utc};
use outbox::UnitOfWork;
use serde::Deserialize;

use crate::account::{self, AccountError};
use crate::payment_method::{self, NewPaymentMethod, PaymentMethodError};

/// Why cards could not be imported. Nothing of them was then.
#[derive(Debug, thiserror::Error)]
pub enum CardsError {
    /// The table cannot be read.
    #[error("the table of cards cannot be read")]
    Table(#[from] csv::Error),
    /// A row names an account that the usage did not bring.
    #[error("line {line}: there is no account {account:?}")]
    NoAccount {
        /// Of the table.
        line: u64,
        /// As the table has it.
        account: String,
    },
    /// An address that is none.
    #[error("line {line}")]
    Account {
        /// Of the table.
        line: u64,
        /// What is wrong.
        source: AccountError,
    },
    /// A card that cannot be added.
    #[error("line {line}")]
    Card {
        /// Of the table.
        line: u64,
        /// What is wrong.
        source: PaymentMethodError,
    },
}

#[derive(Debug, Deserialize)]
struct Row {
    account: String,
    email: Option<String>,
    brand: String,
    last_four: String,
    token: Option<String>,
}

/// Gives accounts their cards, known at a gateway of this name; answers how many.
///
/// # Errors
/// [`CardsError`]; the unit of work is then of no more use.
pub async fn import(
    tx: &mut UnitOfWork,
    table: impl Read + Send,
    gateway: &str,
    now: DateTime<Utc>,
) -> Result<u64, CardsError> {
    let mut reader = csv::Reader::from_reader(table);
    let rows: Vec<Row> = reader.deserialize().collect::<Result<_, _>>()?;
    let mut cards = 0;
    // The first line is the header.
    for (row, line) in rows.into_iter().zip(2..) {
        cards += u64::from(give(tx, row, line, (gateway, now)).await?);
    }
    Ok(cards)
}

/// Whether the account got a card.
async fn give(
    tx: &mut UnitOfWork,
    row: Row,
    line: u64,
    (gateway, now): (&str, DateTime<Utc>),
) -> Result<bool, CardsError> {
    let wrong = |source| CardsError::Account { line, source };
    let found = account::by_external_id(tx, &row.account).await;
    let Some(account) = found.map_err(wrong)? else {
        let account = row.account;
        return Err(CardsError::NoAccount { line, account });
    };
    account::set_email(tx, account.account_id, row.email.as_deref())
        .await
        .map_err(wrong)?;
    let Some(token) = row.token else {
        return Ok(false);
    };
    let card = NewPaymentMethod {
        account: account.account_id,
        gateway: gateway.to_owned(),
        token,
        brand: row.brand,
        last_four: row.last_four,
    };
    payment_method::add(tx, card, now)
        .await
        .map_err(|source| CardsError::Card { line, source })?;
    Ok(true)
}

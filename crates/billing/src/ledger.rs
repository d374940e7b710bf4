//! The ledger: each movement of money is one transfer, which debits one book and credits another.
//!
//! A transfer cannot be unbalanced, and is known by its source (kind and id), so none is posted
//! twice. Running balances are kept for customers' books alone: those of the house are summed when
//! asked, because one row that every chunk of a close updates would serialise it.
//!
//! Owns `billing.transfer`, `billing.balance`.

mod store;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use outbox::{UnitOfWork, failpoint};
use uuid::Uuid;

use crate::ids::AccountId;
use crate::money::{Currency, Money};

/// A book of the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Book {
    /// What a customer owes.
    Receivable,
    /// What a customer has in advance.
    CustomerCredit,
    /// What was earned.
    Revenue,
    /// What is owed to tax offices.
    Tax,
    /// What gateways hold for the house.
    Cash,
    /// What came past the gateways: transfers, cheques, cash.
    Bank,
    /// What was given away: goodwill, promotions.
    Allowance,
    /// What will not be collected.
    WriteOff,
    /// Differences of exchange rates.
    Fx,
}

impl Book {
    /// The book's name in tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Receivable => "receivable",
            Self::CustomerCredit => "customer_credit",
            Self::Revenue => "revenue",
            Self::Tax => "tax",
            Self::Cash => "cash",
            Self::Bank => "bank",
            Self::Allowance => "allowance",
            Self::WriteOff => "write_off",
            Self::Fx => "fx",
        }
    }

    /// A balance is positive for what the book's name says: a debit adds to what a customer owes, a
    /// credit to what is owed to a customer.
    const fn sign(self) -> i64 {
        match self {
            Self::Receivable => 1,
            _ => -1,
        }
    }

    const fn is_customers(self) -> bool {
        matches!(self, Self::Receivable | Self::CustomerCredit)
    }
}

/// A movement of money to be posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewTransfer {
    /// What kind of thing moves the money: `invoice`.
    pub source_kind: &'static str,
    /// Which one; kind and id together are posted once, ever.
    pub source_id: Uuid,
    /// The book that is debited.
    pub debit: Book,
    /// The book that is credited.
    pub credit: Book,
    /// The customer; needed as soon as one of the books is a customer's.
    pub account: Option<AccountId>,
    /// How much; always positive, because the direction is in the books.
    pub money: Money,
}

/// Why transfers were not posted.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// An amount of zero or less.
    #[error("a transfer moves a positive amount, not {0}: swap its books instead")]
    NothingMoves(Money),
    /// The same book on both sides.
    #[error("a transfer from the book {0:?} to itself moves nothing")]
    OneBook(Book),
    /// Its source was posted before, or twice in one call.
    #[error("a transfer of the same source was posted before: nothing of this call is")]
    Twice,
    /// More than a balance can hold.
    #[error("a balance would leave the range of 64 bits")]
    Overflow,
    /// A customer's book without a customer.
    #[error("a transfer in a customer's book must name the account")]
    NoCustomer,
    /// The database refused it.
    #[error("could not post to the ledger")]
    Database(#[from] sqlx::Error),
}

/// Posts transfers and moves the customers' balances with them, in the order of accounts.
///
/// # Errors
/// [`PostError`]; the unit of work is of no more use after one of the database.
pub async fn post_all(
    tx: &mut UnitOfWork,
    transfers: &[NewTransfer],
    at: DateTime<Utc>,
) -> Result<(), PostError> {
    transfers.iter().try_for_each(check)?;
    let moves = moves(transfers)?;
    store::post(tx, transfers, at).await.map_err(|err| {
        let refused = err.as_database_error().and_then(|err| err.constraint());
        match refused {
            Some("transfer_posted_once") => PostError::Twice,
            _ => PostError::Database(err),
        }
    })?;
    failpoint!("ledger.posted")?;
    store::move_balances(tx, &moves).await?;
    Ok(())
}

/// A customer's book in one currency.
type Account = (AccountId, Book, Currency);

/// By how much each customer's book changes, by account: two who post never wait for each other in
/// a circle.
fn moves(transfers: &[NewTransfer]) -> Result<BTreeMap<Account, i64>, PostError> {
    let mut moves = BTreeMap::new();
    for transfer in transfers {
        let minor = transfer.money.minor();
        for (book, minor) in [(transfer.debit, minor), (transfer.credit, -minor)] {
            let Some(account) = transfer.account.filter(|_| book.is_customers()) else {
                continue;
            };
            let key = (account, book, transfer.money.currency());
            let sum: &mut i64 = moves.entry(key).or_default();
            let moved = minor.checked_mul(book.sign());
            let moved = moved.and_then(|moved| sum.checked_add(moved));
            *sum = moved.ok_or(PostError::Overflow)?;
        }
    }
    Ok(moves)
}

fn check(transfer: &NewTransfer) -> Result<(), PostError> {
    if transfer.money.minor() <= 0 {
        return Err(PostError::NothingMoves(transfer.money));
    }
    if transfer.debit == transfer.credit {
        return Err(PostError::OneBook(transfer.debit));
    }
    let is_customers = transfer.debit.is_customers() || transfer.credit.is_customers();
    if is_customers && transfer.account.is_none() {
        return Err(PostError::NoCustomer);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::Currency;

    fn transfer(minor: i64) -> NewTransfer {
        NewTransfer {
            source_kind: "invoice",
            source_id: outbox::ids::new(),
            debit: Book::Receivable,
            credit: Book::Revenue,
            account: Some(AccountId::new()),
            money: Money::new(minor, Currency::parse("USD").unwrap()),
        }
    }

    #[test]
    fn a_transfer_moves_a_positive_amount_between_two_books() {
        assert!(check(&transfer(1)).is_ok());
        assert!(matches!(
            check(&transfer(0)),
            Err(PostError::NothingMoves(_))
        ));
        assert!(matches!(
            check(&transfer(-1)),
            Err(PostError::NothingMoves(_))
        ));
        let one_book = NewTransfer {
            credit: Book::Receivable,
            ..transfer(1)
        };
        assert!(matches!(
            check(&one_book),
            Err(PostError::OneBook(Book::Receivable))
        ));
    }

    #[test]
    fn a_customers_book_needs_a_customer() {
        let nobodys = NewTransfer {
            account: None,
            ..transfer(1)
        };
        assert!(matches!(check(&nobodys), Err(PostError::NoCustomer)));

        let of_the_house = NewTransfer {
            debit: Book::Fx,
            ..nobodys
        };
        assert!(check(&of_the_house).is_ok());
    }
}

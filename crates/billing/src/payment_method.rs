//! Payment methods: the cards that accounts pay with, as their gateways know them.
//!
//! Only a token is kept, with what a person needs to tell one card from another. Digits that could
//! be a card's number are refused, here and by the table: whoever stores one is in the scope of the
//! card industry's rules. The newest method that was not removed is the one that is charged.
//!
//! Owns `billing.payment_method`. Emits `payment_method.added`, `payment_method.removed`.

mod store;

use chrono::{DateTime, Utc};
use outbox::{Locked, NewEvent, UnitOfWork, failpoint};
use serde::Serialize;
use serde_json::json;
use sqlx::PgConnection;

use crate::account;
use crate::ids::{AccountId, PaymentMethodId};
use crate::owed;
use crate::text::{self, ID_CHARS_MAX, NOTE_CHARS_MAX, TextProblem};

/// The shortest card numbers have so many digits.
const CARD_DIGITS_MIN: usize = 12;

/// A payment method to be added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPaymentMethod {
    /// Whose.
    pub account: AccountId,
    /// The name of the gateway that knows the token.
    pub gateway: String,
    /// What the gateway knows the card by.
    pub token: String,
    /// Such as `Visa`.
    pub brand: String,
    /// The last four digits of its number.
    pub last_four: String,
}

/// A payment method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PaymentMethod {
    /// Its id.
    pub payment_method_id: PaymentMethodId,
    /// The name of the gateway that knows it.
    pub gateway: String,
    /// Such as `Visa`.
    pub brand: String,
    /// The last four digits of its number.
    pub last_four: String,
    /// Since when it may be charged.
    pub added_at: DateTime<Utc>,
    /// Since when it may not.
    pub removed_at: Option<DateTime<Utc>>,
}

/// Why a payment method was not added or removed.
#[derive(Debug, thiserror::Error)]
pub enum PaymentMethodError {
    /// There is no such account.
    #[error("there is no account {0}")]
    NoAccount(AccountId),
    /// A text that cannot be stored or shown.
    #[error("the {field} {problem}")]
    Text {
        /// Which field.
        field: &'static str,
        /// What is wrong with it.
        problem: TextProblem,
    },
    /// Not four digits.
    #[error("the last four digits are four digits, such as 4242")]
    LastFour,
    /// It might be a card's number. It is not repeated here.
    #[error(
        "the {0} could hold a card's number: send the token that the gateway gives out for the \
         card, never the number"
    )]
    CardNumber(&'static str),
    /// There is none with this id in use.
    #[error("the account has no payment method {0} in use")]
    Missing(PaymentMethodId),
    /// The database refused.
    #[error("could not read or write payment methods")]
    Database(#[from] sqlx::Error),
}

/// Adds a method, which is charged from now on; open invoices are tried with it at once. One that
/// is there already is answered as it stands.
///
/// # Errors
/// [`PaymentMethodError`].
pub async fn add(
    tx: &mut UnitOfWork,
    new: NewPaymentMethod,
    now: DateTime<Utc>,
) -> Result<PaymentMethod, PaymentMethodError> {
    check(&new)?;
    let locks = account::lock_all(tx, &[new.account]).await?;
    let locked = locks.get(&new.account).copied();
    let locked = locked.ok_or(PaymentMethodError::NoAccount(new.account))?;
    if let Some(standing) = store::standing(tx, &new).await? {
        return Ok(standing);
    }
    let id = PaymentMethodId::new();
    let event = added(id, &new);
    store::insert(tx, [(id, &new, event.event_id)], now).await?;
    failpoint!("payment_method.added")?;
    tx.append(locked, event);
    owed::want_open(tx, locked, "a payment method was added").await?;
    Ok(PaymentMethod {
        payment_method_id: id,
        gateway: new.gateway,
        brand: new.brand,
        last_four: new.last_four,
        added_at: now,
        removed_at: None,
    })
}

/// Adds the first methods of accounts that are locked and have no invoices yet.
///
/// # Errors
/// [`PaymentMethodError`].
pub(crate) async fn add_first(
    tx: &mut UnitOfWork,
    new: &[(Locked, NewPaymentMethod)],
    now: DateTime<Utc>,
) -> Result<(), PaymentMethodError> {
    new.iter().try_for_each(|(_, new)| check(new))?;
    let ids = new.iter().map(|_| PaymentMethodId::new());
    let announced: Vec<_> = new
        .iter()
        .zip(ids)
        .map(|((locked, new), id)| (id, new, *locked, added(id, new)))
        .collect();
    let rows = announced.iter();
    let rows = rows.map(|(id, new, _, event)| (*id, *new, event.event_id));
    store::insert(tx, rows, now).await?;
    for (_, _, locked, event) in announced {
        tx.append(locked, event);
    }
    Ok(())
}

fn added(id: PaymentMethodId, new: &NewPaymentMethod) -> NewEvent {
    let payload = json!({
        "payment_method_id": id,
        "account_id": new.account,
        "gateway": new.gateway,
        "brand": new.brand,
        "last_four": new.last_four,
    });
    NewEvent::new("payment_method.added", 1, payload)
}

/// Removes a method: it is never charged again.
///
/// # Errors
/// [`PaymentMethodError`].
pub async fn remove(
    tx: &mut UnitOfWork,
    account: AccountId,
    method: PaymentMethodId,
    now: DateTime<Utc>,
) -> Result<(), PaymentMethodError> {
    let locks = account::lock_all(tx, &[account]).await?;
    let locked = locks.get(&account).copied();
    let locked = locked.ok_or(PaymentMethodError::NoAccount(account))?;
    let payload = json!({ "payment_method_id": method, "account_id": account });
    let event = NewEvent::new("payment_method.removed", 1, payload);
    if !store::remove(tx, (account, method), (event.event_id, now)).await? {
        return Err(PaymentMethodError::Missing(method));
    }
    tx.append(locked, event);
    Ok(())
}

/// The latest methods of an account, newest first, removed ones too; from the one after `after` on,
/// if it is named.
///
/// # Errors
/// The database's.
pub async fn list(
    connection: &mut PgConnection,
    account: AccountId,
    after: Option<PaymentMethodId>,
    limit: u32,
) -> Result<Vec<PaymentMethod>, sqlx::Error> {
    store::list(connection, account, after, limit).await
}

fn check(new: &NewPaymentMethod) -> Result<(), PaymentMethodError> {
    let fields = [
        ("gateway", &new.gateway, ID_CHARS_MAX),
        ("token", &new.token, ID_CHARS_MAX),
        ("brand", &new.brand, NOTE_CHARS_MAX),
    ];
    for (field, text, chars_max) in fields {
        text::check(text, chars_max)
            .map_err(|problem| PaymentMethodError::Text { field, problem })?;
        if could_be_card_number(text) {
            return Err(PaymentMethodError::CardNumber(field));
        }
    }
    let is_four = new.last_four.len() == 4 && new.last_four.bytes().all(|b| b.is_ascii_digit());
    if is_four {
        Ok(())
    } else {
        Err(PaymentMethodError::LastFour)
    }
}

/// Whether as many digits stand together as a card's number has, with or without what people put
/// between them. Only a letter parts them; digits of any script count.
fn could_be_card_number(text: &str) -> bool {
    let mut digits = 0;
    for c in text.chars() {
        if c.is_numeric() {
            digits += 1;
        } else if c.is_alphabetic() {
            digits = 0;
        }
        if digits == CARD_DIGITS_MIN {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(token: &str, last_four: &str) -> NewPaymentMethod {
        NewPaymentMethod {
            account: AccountId::new(),
            gateway: "sim".to_owned(),
            token: token.to_owned(),
            brand: "Visa".to_owned(),
            last_four: last_four.to_owned(),
        }
    }

    #[test]
    fn what_could_be_a_cards_number_is_refused_and_not_repeated() {
        for token in [
            "4242424242424242",
            "4242 4242 4242 4242",
            "tok_4242-4242-4242-4242",
            "378282246310005",
            "5555.5555.5555.4444 exp 12",
            "4242/4242/4242/4242",
            "４２４２４２４２４２４２４２４２",
        ] {
            let error = check(&new(token, "4242")).unwrap_err();
            assert!(matches!(error, PaymentMethodError::CardNumber("token")));
            assert!(!error.to_string().contains("4242"), "{error}");
        }
    }

    #[test]
    fn a_token_with_few_digits_is_accepted() {
        for token in ["tok_approve", "tok_slow_5000ms", "pm_1MqLiJLkdIwHu7ix"] {
            assert!(check(&new(token, "4242")).is_ok(), "{token}");
        }
    }

    #[test]
    fn the_last_four_digits_are_four_digits() {
        for wrong in ["", "424", "42424", "42a2", "٤٢٤٢"] {
            let error = check(&new("tok_approve", wrong)).unwrap_err();
            assert!(matches!(error, PaymentMethodError::LastFour), "{wrong}");
        }
    }
}

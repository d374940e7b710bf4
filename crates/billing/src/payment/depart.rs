//! Departing: the last look at the world before money is asked for.

use chrono::{DateTime, Utc};
use outbox::{UnitOfWork, failpoint};
use sqlx::PgConnection;

use super::{PaymentError, store};
use crate::account;
use crate::ids::PaymentId;
use crate::owed;

/// Marks attempts as sent, each with the instant until which its key is safe, and answers which may
/// be called. The others were cancelled, because less is due than they ask for, their card was
/// removed, a dispute began or credit came in; where something is still due, a new decision is
/// asked for in the same transaction.
///
/// # Errors
/// [`PaymentError`]; the unit of work is then of no more use.
pub async fn depart_all(
    tx: &mut UnitOfWork,
    leaving: &[(PaymentId, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> Result<Vec<PaymentId>, PaymentError> {
    let ids: Vec<PaymentId> = leaving.iter().map(|(payment, _)| *payment).collect();
    let accounts = store::accounts(tx, &ids).await?;
    let locks = account::lock_all(tx, &accounts).await?;
    let sent = store::depart(tx, leaving, now).await?;
    failpoint!("payment.departing")?;
    if sent.len() < leaving.len() {
        for overtaken in store::cancel_overtaken(tx, &ids, now).await? {
            if let Some(locked) = locks.get(&overtaken.account).filter(|_| overtaken.is_due) {
                owed::want(
                    tx,
                    *locked,
                    overtaken.invoice,
                    "the world changed before the call",
                );
            }
        }
    }
    Ok(sent)
}

/// Puts back an attempt that departed and surely was not sent, so that it may depart again: after a
/// departure, a gateway without lasting keys is never sent anything any more.
///
/// # Errors
/// The database's; the unit of work is then of no more use.
pub async fn stay(tx: &mut UnitOfWork, payment: PaymentId) -> Result<(), sqlx::Error> {
    store::stay(tx, payment).await
}

/// Whether an attempt that departed before, and never arrived as far as the gateway can tell, may
/// be sent again: the world may have changed since, and then its key is to be burnt instead.
///
/// # Errors
/// The database's.
pub async fn is_wanted(
    connection: &mut PgConnection,
    payment: PaymentId,
) -> Result<bool, sqlx::Error> {
    store::is_wanted(connection, payment).await
}

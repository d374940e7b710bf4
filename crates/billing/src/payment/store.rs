//! The statements of payments that read, and that begin one.

mod by_hand;
mod moved;
mod summary;
mod webhook;

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Attempt, ByHand, PaymentError};
use crate::ids::{AccountId, InvoiceId, PaymentId, PaymentMethodId};
use crate::money::{Currency, Money, MoneyError};

pub use by_hand::Recorded;
pub(super) use by_hand::{insert_by_hand, recorded};
pub(super) use moved::{Moved, cancel_overtaken, depart, is_wanted, stay};
pub(super) use summary::by_id;
pub use summary::{Summary, list, of_invoice};
pub(super) use webhook::{keep, of_gateway};

/// How far a payment has come, as far as decisions need to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Created,
    Sent,
    Unknown,
    Manual,
    Final,
}

impl State {
    fn of(name: &str) -> Self {
        match name {
            "created" => Self::Created,
            "sent" => Self::Sent,
            "unknown" => Self::Unknown,
            "manual" => Self::Manual,
            _ => Self::Final,
        }
    }
}

/// A payment that exists, with what is needed to go on with it.
pub(super) struct Open {
    pub(super) attempt: Attempt,
    pub(super) state: State,
    pub(super) cause: Option<Uuid>,
}

pub(super) struct Method {
    pub(super) id: PaymentMethodId,
    pub(super) gateway: String,
    pub(super) token: String,
}

/// What a decision needs to know of an invoice, beside what is due on it.
pub(super) struct Facts {
    pub(super) open: Option<Open>,
    pub(super) attempts: i32,
    pub(super) method: Option<Method>,
    pub(super) is_disputed: bool,
}

fn uuids<T: Copy + Into<Uuid>>(ids: &[T]) -> Vec<Uuid> {
    ids.iter().map(|id| (*id).into()).collect()
}

/// The facts of invoices whose accounts are locked.
pub(super) async fn facts(
    tx: &mut PgConnection,
    invoices: &[InvoiceId],
) -> Result<HashMap<InvoiceId, Facts>, PaymentError> {
    let rows = sqlx::query!(
        r#"
        -- payment: what a decision needs to know
        select invoice_id as "invoice_id!", attempt.payment_id as "open?",
            made.attempts as "attempts!", method.payment_method_id as "method_id?",
            method.gateway as "gateway?", method.token as "token?",
            exists (
                select from billing.hold
                where hold.account_id = invoice.account_id and reason = 'dispute'
                    and released_at is null
            ) as "is_disputed!"
        from unnest($1::uuid[]) as wanted (invoice_id)
        join billing.invoice using (invoice_id)
        cross join lateral (
            select coalesce(max(attempt), 0) as attempts from billing.payment
            where payment.invoice_id = wanted.invoice_id
        ) as made
        left join lateral (
            select payment_id from billing.payment
            where payment.invoice_id = wanted.invoice_id and settled_at is null
            -- There is one at most. Said, it is looked for by its index, whatever the statistics.
            limit 1
        ) as attempt on true
        left join lateral (
            select payment_method_id, gateway, token from billing.payment_method
            where payment_method.account_id = invoice.account_id and removed_at is null
            order by added_at desc, payment_method_id desc
            limit 1
        ) as method on true
        "#,
        &uuids(invoices),
    )
    .fetch_all(&mut *tx)
    .await?;
    let open: Vec<PaymentId> = rows
        .iter()
        .filter_map(|row| row.open.map(PaymentId::from))
        .collect();
    let mut open = attempts(tx, &open).await?;
    let facts = rows.into_iter().map(|row| {
        let method = match (row.method_id, row.gateway, row.token) {
            (Some(id), Some(gateway), Some(token)) => Some(Method {
                id: id.into(),
                gateway,
                token,
            }),
            _ => None,
        };
        let facts = Facts {
            open: row.open.and_then(|id| open.remove(&id.into())),
            attempts: row.attempts,
            method,
            is_disputed: row.is_disputed,
        };
        (row.invoice_id.into(), facts)
    });
    Ok(facts.collect())
}

/// Those of the invoices for which a payment is under way.
pub(super) async fn with_open_attempt(
    tx: &mut PgConnection,
    invoices: impl Iterator<Item = InvoiceId>,
) -> Result<HashSet<InvoiceId>, sqlx::Error> {
    let ids: Vec<Uuid> = invoices.map(Uuid::from).collect();
    let busy = sqlx::query_scalar!(
        r#"
        -- payment: invoices with one under way
        select invoice_id as "invoice_id!" from billing.payment
        where invoice_id = any ($1) and settled_at is null
        "#,
        &ids,
    )
    .fetch_all(tx)
    .await?;
    Ok(busy.into_iter().map(InvoiceId::from).collect())
}

/// Card payments, with what is needed to go on with them.
pub(super) async fn attempts(
    tx: &mut PgConnection,
    payments: &[PaymentId],
) -> Result<HashMap<PaymentId, Open>, PaymentError> {
    if payments.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        r#"
        -- payment: attempts
        select payment_id, payment.account_id, payment.invoice_id as "invoice_id!",
            payment.gateway as "gateway!", token, payment.currency, amount_minor, payment.state,
            cause, sent_at, deadline, series, number
        from billing.payment
        join billing.payment_method using (payment_method_id)
        join billing.invoice on invoice.invoice_id = payment.invoice_id
        where payment_id = any ($1)
        "#,
        &uuids(payments),
    )
    .fetch_all(tx)
    .await?;
    let open = rows.into_iter().map(|row| {
        let attempt = Attempt {
            payment: row.payment_id.into(),
            account: row.account_id.into(),
            invoice: row.invoice_id.into(),
            gateway: row.gateway,
            token: row.token,
            money: Money::new(row.amount_minor, Currency::parse(&row.currency)?),
            description: crate::ids::written_number(&row.series, row.number),
            sent_at: row.sent_at,
            deadline: row.deadline,
        };
        let open = Open {
            attempt,
            state: State::of(&row.state),
            cause: row.cause,
        };
        Ok((row.payment_id.into(), open))
    });
    open.collect()
}

/// An attempt to be written down.
pub(super) struct NewAttempt {
    pub(super) attempt: Attempt,
    pub(super) nth: i32,
    pub(super) method: PaymentMethodId,
    pub(super) cause: Uuid,
}

pub(super) async fn insert(
    tx: &mut PgConnection,
    new: &[NewAttempt],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    if new.is_empty() {
        return Ok(());
    }
    let uuid = |of: fn(&NewAttempt) -> Uuid| new.iter().map(of).collect::<Vec<Uuid>>();
    let gateways: Vec<String> = new.iter().map(|one| one.attempt.gateway.clone()).collect();
    let currencies: Vec<String> = new
        .iter()
        .map(|one| one.attempt.money.currency().code().to_owned())
        .collect();
    let amounts: Vec<i64> = new.iter().map(|one| one.attempt.money.minor()).collect();
    let nths: Vec<i32> = new.iter().map(|one| one.nth).collect();
    sqlx::query!(
        "
        -- payment: begin attempts
        insert into billing.payment (
            payment_id, account_id, invoice_id, payment_method_id, cause, gateway, currency,
            amount_minor, attempt, kind, state, created_at
        )
        select payment_id, account_id, invoice_id, payment_method_id, cause, gateway, currency,
            amount_minor, attempt, 'card', 'created', $10
        from unnest(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
            $8::bigint[], $9::int[]
        ) as new (
            payment_id, account_id, invoice_id, payment_method_id, cause, gateway, currency,
            amount_minor, attempt
        )
        ",
        &uuid(|one| one.attempt.payment.into()),
        &uuid(|one| one.attempt.account.into()),
        &uuid(|one| one.attempt.invoice.into()),
        &uuid(|one| one.method.into()),
        &uuid(|one| one.cause),
        &gateways,
        &currencies,
        &amounts,
        &nths,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whose the payments are.
pub(super) async fn accounts(
    tx: &mut PgConnection,
    payments: &[PaymentId],
) -> Result<Vec<AccountId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "
        -- payment: whose
        select account_id from billing.payment where payment_id = any ($1)
        ",
        &uuids(payments),
    )
    .fetch_all(tx)
    .await?;
    Ok(ids.into_iter().map(AccountId::from).collect())
}

/// A payment as it stands before it is settled.
#[derive(Debug, Clone)]
pub(super) struct Known {
    pub(super) payment: PaymentId,
    pub(super) account: AccountId,
    pub(super) invoice: Option<InvoiceId>,
    pub(super) kind: &'static str,
    pub(super) gateway: Option<String>,
    pub(super) money: Money,
    pub(super) state: State,
    pub(super) nth: i32,
    pub(super) look_ups: i32,
    pub(super) captured: Option<i64>,
}

impl Known {
    pub(super) fn by_hand(by_hand: &ByHand) -> Self {
        Self {
            payment: by_hand.payment,
            account: by_hand.account,
            invoice: by_hand.invoice,
            kind: "by_hand",
            gateway: None,
            money: by_hand.money,
            state: State::Final,
            nth: 0,
            look_ups: 0,
            captured: None,
        }
    }
}

/// Card payments whose accounts are locked.
pub(super) async fn known(
    tx: &mut PgConnection,
    payments: &[PaymentId],
) -> Result<HashMap<PaymentId, Known>, PaymentError> {
    let rows = sqlx::query!(
        "
        -- payment: as they stand
        select payment_id, account_id, invoice_id, gateway, currency, amount_minor, state, attempt,
            look_ups, captured_minor
        from billing.payment
        where payment_id = any ($1) and kind = 'card'
        ",
        &uuids(payments),
    )
    .fetch_all(tx)
    .await?;
    let known = rows.into_iter().map(|row| {
        let known = Known {
            payment: row.payment_id.into(),
            account: row.account_id.into(),
            invoice: row.invoice_id.map(InvoiceId::from),
            kind: "card",
            gateway: row.gateway,
            money: Money::new(row.amount_minor, Currency::parse(&row.currency)?),
            state: State::of(&row.state),
            nth: row.attempt,
            look_ups: row.look_ups,
            captured: row.captured_minor,
        };
        Ok((known.payment, known))
    });
    known.collect()
}

/// Money that came in, divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Capture {
    pub(super) money: Money,
    /// What of it settles the invoice.
    pub(super) applied: Money,
    /// The rest, which is the customer's.
    pub(super) excess: Money,
}

impl Capture {
    pub(super) fn of(money: Money, due: Option<Money>) -> Result<Self, MoneyError> {
        let zero = Money::zero(money.currency());
        let applied = match due {
            Some(due) if due.minor() < money.minor() => due,
            Some(_) => money,
            None => zero,
        };
        Ok(Self {
            money,
            applied,
            excess: money.sub(applied)?,
        })
    }
}

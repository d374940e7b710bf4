//! The statements that move payments from state to state.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Capture, Known};
use crate::ids::{AccountId, InvoiceId, PaymentId};

/// Marks as sent what the world still asks for: enough is due, the card is there, nobody disputes,
/// and no credit came in the meantime (what there was before was used up by the decision).
/// One that is marked already, by a commit whose answer was lost, may be called with its key.
pub(crate) async fn depart(
    tx: &mut PgConnection,
    leaving: &[(PaymentId, DateTime<Utc>)],
    now: DateTime<Utc>,
) -> Result<Vec<PaymentId>, sqlx::Error> {
    let (ids, deadlines): (Vec<Uuid>, Vec<DateTime<Utc>>) = leaving
        .iter()
        .map(|(payment, deadline)| (Uuid::from(*payment), *deadline))
        .unzip();
    let sent = sqlx::query_scalar!(
        r#"
        -- payment: depart
        with gone as (
            update billing.payment
            set state = 'sent', sent_at = $3, deadline = leaving.deadline
            from unnest($1::uuid[], $2::timestamptz[]) as leaving (payment_id, deadline),
                billing.invoice, billing.payment_method
            where payment.payment_id = leaving.payment_id
                and payment.state = 'created'
                and invoice.invoice_id = payment.invoice_id
                and invoice.state = 'finalized'
                and invoice.total_minor - invoice.settled_minor >= payment.amount_minor
                and payment_method.payment_method_id = payment.payment_method_id
                and payment_method.removed_at is null
                and not exists (
                    select from billing.hold
                    where hold.account_id = payment.account_id and reason = 'dispute'
                        and released_at is null
                )
                and not exists (
                    select from billing.balance
                    where balance.account_id = payment.account_id and book = 'customer_credit'
                        and balance.amount_minor > 0
                )
            returning payment.payment_id
        )
        select payment_id as "payment_id!" from gone
        union all
        select payment_id from billing.payment where payment_id = any ($1) and state = 'sent'
        "#,
        &ids,
        &deadlines,
        now,
    )
    .fetch_all(tx)
    .await?;
    Ok(sent.into_iter().map(PaymentId::from).collect())
}

/// Marks an attempt as not sent, unless somebody learnt something of it.
pub(crate) async fn stay(tx: &mut PgConnection, payment: PaymentId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- payment: stay
        update billing.payment set state = 'created', sent_at = null, deadline = null
        where payment_id = $1 and state = 'sent'
        ",
        Uuid::from(payment),
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Whether the world still asks for an attempt that departed, by the rule of departures.
pub(crate) async fn is_wanted(
    connection: &mut PgConnection,
    payment: PaymentId,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- payment: is it still wanted
        select exists (
            select from billing.payment
            join billing.invoice on invoice.invoice_id = payment.invoice_id
            join billing.payment_method using (payment_method_id)
            where payment.payment_id = $1
                and payment.state in ('sent', 'unknown')
                and invoice.state = 'finalized'
                and invoice.total_minor - invoice.settled_minor >= payment.amount_minor
                and payment_method.removed_at is null
                and not exists (
                    select from billing.hold
                    where hold.account_id = payment.account_id and reason = 'dispute'
                        and released_at is null
                )
                and not exists (
                    select from billing.balance
                    where balance.account_id = payment.account_id and book = 'customer_credit'
                        and balance.amount_minor > 0
                )
        ) as "is_wanted!"
        "#,
        Uuid::from(payment),
    )
    .fetch_one(connection)
    .await
}

/// An attempt that the world had overtaken.
pub(crate) struct Overtaken {
    pub(crate) account: AccountId,
    pub(crate) invoice: InvoiceId,
    pub(crate) is_due: bool,
}

/// Cancels those of the attempts that did not depart.
pub(crate) async fn cancel_overtaken(
    tx: &mut PgConnection,
    payments: &[PaymentId],
    now: DateTime<Utc>,
) -> Result<Vec<Overtaken>, sqlx::Error> {
    let ids: Vec<Uuid> = payments.iter().map(|id| Uuid::from(*id)).collect();
    let rows = sqlx::query!(
        r#"
        -- payment: cancel what was overtaken
        update billing.payment
        set state = 'cancelled', settled_at = $2, note = 'the world changed before the call'
        from billing.invoice
        where payment_id = any ($1) and payment.state = 'created'
            and invoice.invoice_id = payment.invoice_id
        returning payment.account_id, payment.invoice_id as "invoice_id!",
            invoice.state = 'finalized' as "is_due!"
        "#,
        &ids,
        now,
    )
    .fetch_all(tx)
    .await?;
    let overtaken = rows.into_iter().map(|row| Overtaken {
        account: row.account_id.into(),
        invoice: row.invoice_id.into(),
        is_due: row.is_due,
    });
    Ok(overtaken.collect())
}

/// Moves of payments, as columns for `unnest`.
#[derive(Default)]
pub(crate) struct Moved {
    payment_id: Vec<Uuid>,
    state: Vec<&'static str>,
    captured_minor: Vec<Option<i64>>,
    applied_minor: Vec<Option<i64>>,
    gateway_ref: Vec<Option<String>>,
    decline_code: Vec<Option<String>>,
    decline_is_soft: Vec<Option<bool>>,
    note: Vec<Option<String>>,
    event: Vec<Option<Uuid>>,
}

impl Moved {
    fn push(&mut self, known: &Known, state: &'static str, note: Option<&str>) {
        self.payment_id.push(known.payment.into());
        self.state.push(state);
        self.captured_minor.push(None);
        self.applied_minor.push(None);
        self.gateway_ref.push(None);
        self.decline_code.push(None);
        self.decline_is_soft.push(None);
        self.note.push(note.map(crate::text::mend));
        self.event.push(None);
    }

    pub(crate) fn succeed(
        &mut self,
        known: &Known,
        capture: &Capture,
        gateway_ref: &str,
        event: Uuid,
    ) {
        self.push(known, "succeeded", None);
        set(&mut self.captured_minor, capture.money.minor());
        set(&mut self.applied_minor, capture.applied.minor());
        set(&mut self.gateway_ref, gateway_ref.to_owned());
        set(&mut self.event, event);
    }

    pub(crate) fn decline(
        &mut self,
        known: &Known,
        (gateway_ref, code, is_soft): (Option<&str>, &str, bool),
        event: Uuid,
    ) {
        self.push(known, "declined", None);
        if let Some(gateway_ref) = gateway_ref {
            set(&mut self.gateway_ref, gateway_ref.to_owned());
        }
        set(&mut self.decline_code, crate::text::mend(code));
        set(&mut self.decline_is_soft, is_soft);
        set(&mut self.event, event);
    }

    pub(crate) fn unknown(&mut self, known: &Known, why: &str) {
        self.push(known, "unknown", Some(why));
    }

    pub(crate) fn cancel(&mut self, known: &Known, why: &str) {
        self.push(known, "cancelled", Some(why));
    }

    pub(crate) fn hand_over(&mut self, known: &Known, why: &str) {
        self.push(known, "manual", Some(why));
    }

    /// One that was settled before anybody marked it as sent, such as by an early webhook, goes
    /// through that state all the same.
    pub(crate) async fn write(
        &self,
        tx: &mut PgConnection,
        now: DateTime<Utc>,
    ) -> Result<(), sqlx::Error> {
        if self.payment_id.is_empty() {
            return Ok(());
        }
        sqlx::query!(
            "
            -- payment: sent after all
            update billing.payment set state = 'sent', sent_at = $2, deadline = $2
            where payment_id = any ($1) and state = 'created'
            ",
            &self.payment_id,
            now,
        )
        .execute(&mut *tx)
        .await?;
        sqlx::query!(
            "
            -- payment: settle
            update billing.payment
            set state = moved.state,
                captured_minor = moved.captured_minor,
                applied_minor = moved.applied_minor,
                gateway_ref = coalesce(moved.gateway_ref, payment.gateway_ref),
                decline_code = moved.decline_code,
                decline_is_soft = moved.decline_is_soft,
                note = coalesce(moved.note, payment.note),
                look_ups = look_ups + case moved.state when 'unknown' then 1 else 0 end,
                settled_at = case
                    when moved.state in ('succeeded', 'declined', 'cancelled') then $10::timestamptz
                end,
                succeeded_event = case moved.state when 'succeeded' then moved.event end,
                succeeded_xid = case moved.state when 'succeeded' then pg_current_xact_id() end,
                declined_event = case moved.state when 'declined' then moved.event end,
                declined_xid = case moved.state when 'declined' then pg_current_xact_id() end
            from unnest(
                $1::uuid[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[],
                $7::boolean[], $8::text[], $9::uuid[]
            ) as moved (
                payment_id, state, captured_minor, applied_minor, gateway_ref, decline_code,
                decline_is_soft, note, event
            )
            where payment.payment_id = moved.payment_id
            ",
            &self.payment_id,
            &self.state as &[&str],
            &self.captured_minor as &[Option<i64>],
            &self.applied_minor as &[Option<i64>],
            &self.gateway_ref as &[Option<String>],
            &self.decline_code as &[Option<String>],
            &self.decline_is_soft as &[Option<bool>],
            &self.note as &[Option<String>],
            &self.event as &[Option<Uuid>],
            now,
        )
        .execute(tx)
        .await?;
        Ok(())
    }
}

/// Fills in the row that was pushed last.
fn set<T>(column: &mut [Option<T>], value: T) {
    if let Some(last) = column.last_mut() {
        *last = Some(value);
    }
}

//! What notices tell of, and what is told of notices.
//!
//! The events of a close are all of invoices: what is not asked for costs no statement.

use std::collections::HashMap;

use super::{
    AccountId, DateTime, HoldId, InvoiceId, NaiveDate, Notice, NoticeId, PaymentId, PgConnection,
    PgPool, Utc, Uuid, uuids,
};
use crate::notice::facts::{Hold, Payment, Standing};

pub(in crate::notice) async fn standings(
    conn: &mut PgConnection,
    ids: &[InvoiceId],
) -> Result<HashMap<InvoiceId, Standing>, sqlx::Error> {
    let rows = sqlx::query!(
        "
        -- notice: how the invoices stand
        select invoice_id, state, credit_minor
        from billing.invoice
        where invoice_id = any ($1)
        ",
        &uuids(ids),
    )
    .fetch_all(conn)
    .await?;
    let standings = rows.into_iter().map(|row| {
        let (state, credit_minor) = (row.state, row.credit_minor);
        let standing = Standing {
            state,
            credit_minor,
        };
        (row.invoice_id.into(), standing)
    });
    Ok(standings.collect())
}

pub(in crate::notice) async fn payments(
    conn: &mut PgConnection,
    ids: &[PaymentId],
) -> Result<HashMap<PaymentId, Payment>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_as!(
        Payment,
        r#"
        -- notice: payments that have ended
        select payment_id, invoice_id as "invoice_id: InvoiceId", currency, amount_minor,
            settled_at as "settled_at!", captured_minor, applied_minor, decline_code,
            decline_is_soft
        from billing.payment
        where payment_id = any ($1)
            and state in ('succeeded', 'declined')
        "#,
        &uuids(ids),
    )
    .fetch_all(conn)
    .await?;
    let payments = rows.into_iter().map(|row| (row.payment_id, row));
    Ok(payments.collect())
}

pub(in crate::notice) async fn holds(
    conn: &mut PgConnection,
    ids: &[HoldId],
) -> Result<HashMap<HoldId, Hold>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query_as!(
        Hold,
        "
        -- notice: holds
        select hold_id, reason, placed_at, released_at
        from billing.hold
        where hold_id = any ($1)
        ",
        &uuids(ids),
    )
    .fetch_all(conn)
    .await?;
    let holds = rows.into_iter().map(|row| (row.hold_id, row));
    Ok(holds.collect())
}

/// Of each account that is held, one reason.
pub(in crate::notice) async fn open_holds(
    conn: &mut PgConnection,
    accounts: &[AccountId],
) -> Result<HashMap<AccountId, String>, sqlx::Error> {
    if accounts.is_empty() {
        return Ok(HashMap::new());
    }
    let rows = sqlx::query!(
        "
        -- notice: open holds
        select account_id, reason
        from billing.hold
        where account_id = any ($1)
            and released_at is null
        ",
        &uuids(accounts),
    )
    .fetch_all(conn)
    .await?;
    let reasons = rows
        .into_iter()
        .map(|row| (row.account_id.into(), row.reason));
    Ok(reasons.collect())
}

/// Those of the holds whose notice was suppressed.
pub(in crate::notice) async fn untold(
    conn: &mut PgConnection,
    holds: &[HoldId],
) -> Result<Vec<HoldId>, sqlx::Error> {
    if holds.is_empty() {
        return Ok(Vec::new());
    }
    let causes = sqlx::query_scalar!(
        "
        -- notice: holds that nobody was told of
        select notice.cause
        from billing.hold
        join billing.notice using (account_id)
        where hold_id = any ($1)
            and notice.kind = 'hold'
            and notice.cause = hold.hold_id
            and notice.state = 'suppressed'
        ",
        &uuids(holds),
    )
    .fetch_all(conn)
    .await?;
    Ok(causes.into_iter().map(HoldId::from).collect())
}

pub(in crate::notice) async fn of_account(
    pool: &PgPool,
    account: AccountId,
    after: Option<NoticeId>,
    limit: u32,
) -> Result<Vec<Notice>, sqlx::Error> {
    // The lowest id of all stands for the beginning.
    let after = after.map_or(Uuid::nil(), Uuid::from);
    sqlx::query_as!(
        Notice,
        r#"
        -- notice: of an account
        select notice_id, kind, cause, invoice_id as "invoice_id: InvoiceId", state, recipient,
            subject, message_id, suppressed, intended_at as "intended_at: DateTime<Utc>", sent_at
        from billing.notice
        where account_id = $1
            and notice_id > $2
        order by notice_id
        limit $3
        "#,
        Uuid::from(account),
        after,
        i64::from(limit),
    )
    .fetch_all(pool)
    .await
}

pub(in crate::notice) async fn count_sent(
    conn: &mut PgConnection,
    month: NaiveDate,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- notice: how many of a month's invoices were sent
        select count(*) as "count!"
        from billing.notice
        join billing.invoice using (invoice_id)
        where invoice.month = $1
            and notice.state = 'sent'
        "#,
        month,
    )
    .fetch_one(conn)
    .await
}

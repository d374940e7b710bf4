//! The statements of notices.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use outbox::UnitOfWork;
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Draft, Notice, Wanted};
use crate::ids::{AccountId, HoldId, InvoiceId, NoticeId, PaymentId};

mod read;

pub(super) use read::{count_sent, holds, of_account, open_holds, payments, standings, untold};

/// Whom a notice goes to.
#[derive(Debug, Clone)]
pub(super) struct Recipient {
    pub(super) name: String,
    pub(super) zone: String,
    pub(super) email: Option<String>,
}

pub(super) async fn recipients(
    tx: &mut UnitOfWork,
    wanted: &[Wanted],
) -> Result<HashMap<AccountId, Recipient>, sqlx::Error> {
    let ids: Vec<Uuid> = wanted.iter().map(|one| one.account.into()).collect();
    let rows = sqlx::query!(
        "
        -- notice: recipients
        select account_id, name, zone, email
        from billing.account
        where account_id = any ($1)
        ",
        &ids,
    )
    .fetch_all(&mut **tx)
    .await?;
    let accounts = rows.into_iter().map(|row| {
        let recipient = Recipient {
            name: row.name,
            zone: row.zone,
            email: row.email,
        };
        (row.account_id.into(), recipient)
    });
    Ok(accounts.collect())
}

/// How a notice's row stands after [`intend`].
#[derive(Debug)]
pub(super) struct Row {
    pub(super) notice_id: NoticeId,
    pub(super) message_id: String,
    pub(super) intended_at: DateTime<Utc>,
    /// Whether it was written just now.
    pub(super) is_new: bool,
    /// Whether nothing had come of it before now.
    pub(super) is_open: bool,
}

/// Writes the rows that are not there yet, and says how each stands; in the drafts' order.
pub(super) async fn intend(tx: &mut UnitOfWork, drafts: &[Draft]) -> Result<Vec<Row>, sqlx::Error> {
    let new = insert(tx, drafts).await?;
    let is_known = |draft: &&Draft| !new.contains_key(&draft.notice_id);
    let known: Vec<&Draft> = drafts.iter().filter(is_known).collect();
    let mut known = intended_before(tx, &known).await?.into_iter();
    let standing = drafts.iter().map(|draft| match new.get(&draft.notice_id) {
        Some(intended_at) => Some(Row {
            notice_id: draft.notice_id,
            message_id: draft.message_id.clone(),
            intended_at: *intended_at,
            is_new: true,
            is_open: true,
        }),
        None => known.next(),
    });
    // Rows of notices are never deleted: each that is not new is there.
    standing
        .collect::<Option<_>>()
        .ok_or(sqlx::Error::RowNotFound)
}

/// How those stand that were intended before; in their order.
async fn intended_before(tx: &mut UnitOfWork, drafts: &[&Draft]) -> Result<Vec<Row>, sqlx::Error> {
    if drafts.is_empty() {
        return Ok(Vec::new());
    }
    let accounts: Vec<Uuid> = drafts.iter().map(|draft| draft.account.into()).collect();
    let kinds: Vec<String> = drafts.iter().map(|draft| kind(draft)).collect();
    let causes: Vec<Uuid> = drafts.iter().map(|draft| draft.about.cause()).collect();
    let rows = sqlx::query!(
        r#"
        -- notice: how the intents stand
        select notice_id, message_id, intended_at, state = 'intended' as "is_intended!"
        from unnest($1::uuid[], $2::text[], $3::uuid[])
            with ordinality as wanted (account_id, kind, cause, nth)
        join billing.notice using (account_id, kind, cause)
        order by nth
        "#,
        &accounts,
        &kinds,
        &causes,
    )
    .fetch_all(&mut **tx)
    .await?;
    let standing = rows.into_iter().map(|row| Row {
        notice_id: row.notice_id.into(),
        message_id: row.message_id,
        intended_at: row.intended_at,
        is_new: false,
        is_open: row.is_intended,
    });
    Ok(standing.collect())
}

/// When each was intended that was not before.
async fn insert(
    tx: &mut UnitOfWork,
    drafts: &[Draft],
) -> Result<HashMap<NoticeId, DateTime<Utc>>, sqlx::Error> {
    let columns = Columns::of(drafts);
    let rows = sqlx::query!(
        "
        -- notice: intend
        insert into billing.notice (
            notice_id, account_id, kind, cause, invoice_id, state, recipient, subject, message_id,
            suppressed
        )
        select notice_id, account_id, kind, cause, invoice_id,
            case when suppressed is null then 'intended' else 'suppressed' end,
            recipient, subject, message_id, suppressed
        from unnest(
            $1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::text[], $7::text[],
            $8::text[], $9::text[]
        ) as wanted (
            notice_id, account_id, kind, cause, invoice_id, recipient, subject, message_id,
            suppressed
        )
        on conflict (account_id, kind, cause) do nothing
        returning notice_id, intended_at
        ",
        &columns.notice_id,
        &columns.account_id,
        &columns.kind,
        &columns.cause,
        &columns.invoice_id as &[Option<Uuid>],
        &columns.recipient as &[Option<String>],
        &columns.subject,
        &columns.message_id,
        &columns.suppressed as &[Option<String>],
    )
    .fetch_all(&mut **tx)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.notice_id.into(), row.intended_at))
        .collect())
}

#[derive(Default)]
struct Columns {
    notice_id: Vec<Uuid>,
    account_id: Vec<Uuid>,
    kind: Vec<String>,
    cause: Vec<Uuid>,
    invoice_id: Vec<Option<Uuid>>,
    recipient: Vec<Option<String>>,
    subject: Vec<String>,
    message_id: Vec<String>,
    suppressed: Vec<Option<String>>,
}

impl Columns {
    fn of(drafts: &[Draft]) -> Self {
        let mut columns = Self::default();
        for draft in drafts {
            columns.notice_id.push(draft.notice_id.into());
            columns.account_id.push(draft.account.into());
            columns.kind.push(kind(draft));
            columns.cause.push(draft.about.cause());
            columns.invoice_id.push(draft.invoice.map(Uuid::from));
            columns.recipient.push(draft.recipient.clone());
            columns.subject.push(draft.letter.subject.clone());
            columns.message_id.push(draft.message_id.clone());
            columns.suppressed.push(suppressed(draft));
        }
        columns
    }
}

/// Gives up those that were intended before and are not to be sent any more.
pub(super) async fn suppress(
    tx: &mut UnitOfWork,
    drafts: &[Draft],
    rows: &[Row],
) -> Result<(), sqlx::Error> {
    let pairs = drafts.iter().zip(rows);
    let (ids, reasons): (Vec<Uuid>, Vec<String>) = pairs
        .filter(|(_, row)| row.is_open && !row.is_new)
        .filter_map(|(draft, row)| Some((Uuid::from(row.notice_id), suppressed(draft)?)))
        .unzip();
    if ids.is_empty() {
        return Ok(());
    }
    // Whoever intended it may have been stopped between sending and recording.
    sqlx::query!(
        "
        -- notice: suppress what was intended
        update billing.notice
        set state = 'suppressed',
            suppressed = why.reason || '; an earlier attempt may have reached the customer'
        from unnest($1::uuid[], $2::text[]) as why (notice_id, reason)
        where notice.notice_id = why.notice_id
            and state = 'intended'
        ",
        &ids,
        &reasons,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

/// What was sent stays sent, even where somebody else gave it up meanwhile.
pub(super) async fn sent(
    tx: &mut UnitOfWork,
    sent: &[(NoticeId, &str)],
) -> Result<(), sqlx::Error> {
    if sent.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = sent.iter().map(|(id, _)| Uuid::from(*id)).collect();
    let recipients: Vec<&str> = sent.iter().map(|(_, to)| *to).collect();
    sqlx::query!(
        "
        -- notice: note as sent
        update billing.notice
        set state = 'sent', sent_at = clock_timestamp(), recipient = mail.recipient,
            suppressed = null
        from unnest($1::uuid[], $2::text[]) as mail (notice_id, recipient)
        where notice.notice_id = mail.notice_id
            and state <> 'sent'
        ",
        &ids,
        &recipients as &[&str],
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

pub(super) async fn refused(
    tx: &mut UnitOfWork,
    refused: &[(NoticeId, &str, &str)],
) -> Result<(), sqlx::Error> {
    if refused.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = refused.iter().map(|(id, ..)| Uuid::from(*id)).collect();
    let recipients: Vec<&str> = refused.iter().map(|(_, to, _)| *to).collect();
    let reasons: Vec<String> = refused
        .iter()
        .map(|(.., why)| format!("refused: {}", crate::text::mend(why)))
        .collect();
    sqlx::query!(
        "
        -- notice: note as refused
        update billing.notice
        set state = 'suppressed', recipient = mail.recipient, suppressed = mail.reason
        from unnest($1::uuid[], $2::text[], $3::text[]) as mail (notice_id, recipient, reason)
        where notice.notice_id = mail.notice_id
            and state = 'intended'
        ",
        &ids,
        &recipients as &[&str],
        &reasons,
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

fn kind(draft: &Draft) -> String {
    draft.about.kind().to_owned()
}

fn suppressed(draft: &Draft) -> Option<String> {
    draft.silence.as_ref().map(|why| why.reason().to_owned())
}

fn uuids<I: Copy>(ids: &[I]) -> Vec<Uuid>
where
    Uuid: From<I>,
{
    let distinct: HashSet<Uuid> = ids.iter().map(|id| Uuid::from(*id)).collect();
    distinct.into_iter().collect()
}

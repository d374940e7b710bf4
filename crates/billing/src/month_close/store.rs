//! The statements of the month close.

use chrono::{DateTime, NaiveDate, Utc};
use outbox::{Locked, UnitOfWork};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{Run, Scope, State, settled};
use crate::ids::{AccountId, RunId};

pub(super) async fn exists(tx: &mut PgConnection, month: NaiveDate) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- month_close: is there one
        select exists (select from billing.month_close where month = $1) as "exists!"
        "#,
        month,
    )
    .fetch_one(tx)
    .await
}

/// When the first open period of a month ends.
pub(super) async fn first_end(
    tx: &mut PgConnection,
    month: NaiveDate,
) -> Result<Option<DateTime<Utc>>, sqlx::Error> {
    sqlx::query_scalar!(
        "
        -- month_close: when is the month over
        select min(end_at) from billing.period where month = $1 and state = 'open'
        ",
        month,
    )
    .fetch_one(tx)
    .await
}

/// The lock of the run if it was new.
pub(super) async fn insert(
    tx: &mut UnitOfWork,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<Option<Locked>, sqlx::Error> {
    let inserted = sqlx::query!(
        "
        -- month_close: start
        insert into billing.month_close (month, run_id, as_of, state, started_at)
        values ($1, $2, $3, 'running', $4)
        on conflict (month) do nothing
        ",
        run.month,
        Uuid::from(run.id),
        run.as_of,
        now,
    )
    .execute(&mut **tx)
    .await?;
    Ok((inserted.rows_affected() == 1).then(|| tx.locked(run.id.into())))
}

/// NO KEY UPDATE keeps other closers out as FOR UPDATE would, and lets chunks in flight, whose
/// invoices refer to the run, finish meanwhile.
pub(super) async fn lock(
    tx: &mut UnitOfWork,
    month: NaiveDate,
) -> Result<(Locked, Run), sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "
        -- month_close: lock
        select month, run_id, as_of, state, batch_id, settled_at
        from billing.month_close
        where month = $1
        for no key update
        ",
        month,
    )
    .fetch_one(&mut **tx)
    .await?;
    Ok((tx.locked(row.run_id), row.into()))
}

pub(super) async fn run_of(pool: &PgPool, month: NaiveDate) -> Result<Option<Run>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "
        -- month_close: as it stands
        select month, run_id, as_of, state, batch_id, settled_at
        from billing.month_close
        where month = $1
        ",
        month,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(Run::from))
}

struct Row {
    month: NaiveDate,
    run_id: Uuid,
    as_of: DateTime<Utc>,
    state: String,
    batch_id: Option<Uuid>,
    settled_at: Option<DateTime<Utc>>,
}

impl From<Row> for Run {
    fn from(row: Row) -> Self {
        let is_closed = row.state == "closed";
        Self {
            id: row.run_id.into(),
            month: row.month,
            as_of: row.as_of,
            state: if is_closed {
                State::Closed
            } else {
                State::Running
            },
            batch: settled::batch(row.batch_id),
            settled_at: row.settled_at,
        }
    }
}

pub(super) async fn has_open(
    tx: &mut PgConnection,
    month: NaiveDate,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- month_close: is anything open that has ended
        select exists (
            select from billing.period
            where month = $1 and state = 'open' and end_at <= $2
        ) as "exists!"
        "#,
        month,
        now,
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn has_unlisted(
    tx: &mut PgConnection,
    month: NaiveDate,
) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- month_close: is anything open and not listed
        select exists (
            select from billing.period
            where month = $1 and state = 'open' and not exists (
                select from billing.close_exception
                where close_exception.account_id = period.account_id
                    and close_exception.period_seq = period.seq
            )
        ) as "exists!"
        "#,
        month,
    )
    .fetch_one(tx)
    .await
}

pub(super) async fn reopen(tx: &mut PgConnection, run: RunId) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: run again
        update billing.month_close
        set state = 'running', closed_at = null, batch_id = null, settled_at = null
        where run_id = $1
        ",
        Uuid::from(run),
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn close(
    tx: &mut PgConnection,
    run: RunId,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: close
        update billing.month_close set state = 'closed', closed_at = $2 where run_id = $1
        ",
        Uuid::from(run),
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn watch(
    tx: &mut PgConnection,
    run: RunId,
    batch: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: watch
        update billing.month_close set batch_id = $2 where run_id = $1
        ",
        Uuid::from(run),
        batch,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn is_settling(
    tx: &mut PgConnection,
    run: RunId,
    batch: Uuid,
) -> Result<bool, sqlx::Error> {
    let found = sqlx::query_scalar!(
        r#"
        -- month_close: is it to be settled
        select settled_at is null as "is_settling!"
        from billing.month_close
        where run_id = $1 and batch_id = $2 and state = 'closed'
        for no key update
        "#,
        Uuid::from(run),
        batch,
    )
    .fetch_optional(tx)
    .await?;
    Ok(found.unwrap_or(false))
}

pub(super) async fn note_settled(
    tx: &mut PgConnection,
    run: RunId,
    batch: Uuid,
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- month_close: settled
        update billing.month_close set settled_at = $3
        where run_id = $1 and batch_id = $2 and state = 'closed' and settled_at is null
        ",
        Uuid::from(run),
        batch,
        now,
    )
    .execute(tx)
    .await?;
    Ok(())
}

pub(super) async fn next_month(
    conn: &mut PgConnection,
    now: DateTime<Utc>,
) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!(
        "
        -- month_close: oldest month to bill
        select coalesce((
            select month
            from billing.period
            where state = 'open' and end_at <= $1 and not exists (
                select from billing.close_exception
                where close_exception.account_id = period.account_id and period_seq = seq
            ) and (exists (
                select from billing.usage_sum
                where usage_sum.account_id = period.account_id and period_seq = seq
            ) or exists (
                select from billing.subscription
                where subscription.account_id = period.account_id
                    and (subscription.end_at is null or subscription.end_at > period.start_at)
            ))
            order by month
            limit 1
        ), (
            select month
            from billing.period
            where state = 'open' and end_at <= $1 and exists (
                select from billing.close_exception
                where close_exception.account_id = period.account_id and period_seq = seq
            ) and (exists (
                select from billing.usage_sum
                where usage_sum.account_id = period.account_id and period_seq = seq
            ) or exists (
                select from billing.subscription
                where subscription.account_id = period.account_id
                    and (subscription.end_at is null or subscription.end_at > period.start_at)
            ))
            order by month
            limit 1
        ))
        ",
        now,
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn last_month(pool: &PgPool) -> Result<Option<NaiveDate>, sqlx::Error> {
    sqlx::query_scalar!(
        "
        -- month_close: latest month
        select max(month) from billing.month_close
        "
    )
    .fetch_one(pool)
    .await
}

/// The database's clock: exceptions are noted by it.
pub(super) async fn clock(conn: &mut PgConnection) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- month_close: now, by the clock that notes exceptions
        select clock_timestamp() as "now!"
        "#
    )
    .fetch_one(conn)
    .await
}

pub(super) async fn accounts_after(
    conn: &mut PgConnection,
    scope: &Scope,
    cursor: Option<AccountId>,
    limit: i64,
) -> Result<Vec<AccountId>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- month_close: next accounts
        select distinct period.account_id as "account: AccountId"
        from billing.period
        left join billing.close_exception
            on close_exception.account_id = period.account_id
                and period_seq = seq and noted_at >= $3
        where period.month = $1 and state = 'open' and end_at <= $2 and period_seq is null
            and period.account_id > $4
        order by period.account_id
        limit $5
        "#,
        scope.month,
        scope.now,
        scope.since,
        cursor.map_or(Uuid::nil(), Uuid::from),
        limit,
    )
    .fetch_all(conn)
    .await
}

/// How many periods an execution has to do.
pub(super) async fn count(conn: &mut PgConnection, scope: &Scope) -> Result<u64, sqlx::Error> {
    let count = sqlx::query_scalar!(
        r#"
        -- month_close: count what is to do
        select count(*) as "count!"
        from billing.period
        where month = $1 and state = 'open' and end_at <= $2
        "#,
        scope.month,
        scope.now,
    )
    .fetch_one(conn)
    .await?;
    Ok(count.unsigned_abs())
}

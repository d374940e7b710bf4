//! Retention: partitions of the log are made ahead, become history, and go when a policy says so.
//!
//! A partition is history when all of its events are below every floor and position. It goes as a
//! whole, oldest first, with the ticks that nobody reads from any more. What anybody still needs
//! stays, whatever its age; who it is that needs it is said.
//!
//! Owns `outbox.retained`, `outbox.dropped`, `outbox.archived`, and the partitions.

use std::path::{Path, PathBuf};

use crate::failpoint;
use chrono::{DateTime, Utc};
use sqlx::PgPool;

mod export;
mod partition;

pub use export::ExportError;
pub use partition::make_ahead;

use partition::Partition;

/// What becomes of history that is old enough.
#[derive(Debug, Clone)]
pub struct Policy {
    /// How many days an event stays at least.
    pub keep_days: i32,
    /// Where it is written before it goes; nowhere, if not given.
    pub export: Option<PathBuf>,
}

/// What a run of the policy came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Retired {
    /// The partitions that are gone, with their numbers of events and their files.
    pub partitions: Vec<(String, i64, Option<PathBuf>)>,
    /// How many ticks were pruned.
    pub ticks: u64,
    /// Who needs the next partition, although it is old enough.
    pub held_by: Option<String>,
}

/// Why a policy was not carried out to its end. What was exported and dropped before stays so.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// Somebody's transaction is open. A queue of others behind us would be worse.
    #[error(
        "partition {0} is in use by transactions that stay open; it was not dropped, and the next \
         run tries again"
    )]
    Busy(String),
    /// The file could not be written, or does not hold what it should.
    #[error("partition {partition} could not be exported and stays")]
    Export {
        /// Which.
        partition: String,
        /// Why.
        source: ExportError,
    },
    /// The database's.
    #[error("the log's partitions could not be looked after")]
    Database(#[from] sqlx::Error),
}

/// Carries out a policy once.
///
/// # Errors
/// [`RetentionError`]; nothing is lost.
pub async fn retire(pool: &PgPool, policy: &Policy) -> Result<Retired, RetentionError> {
    let mut retired = Retired::default();
    let until = oldest_kept(pool, policy.keep_days).await?;
    for partition in partition::all(pool).await? {
        let Some(content) = partition.content(pool).await? else {
            break;
        };
        if content.newest >= until {
            break;
        }
        let need = needed(pool).await?;
        if need.from <= partition.below {
            retired.held_by = Some(need.by);
            break;
        }
        let file = match &policy.export {
            Some(folder) => Some(exported(pool, &partition, content.events, folder).await?),
            None => None,
        };
        partition
            .drop_with_note(pool, content.events, file.as_deref())
            .await?;
        failpoint!("retention.dropped")?;
        retired
            .partitions
            .push((partition.name, content.events, file));
    }
    retired.ticks = prune(pool, until).await?;
    Ok(retired)
}

async fn exported(
    pool: &PgPool,
    partition: &Partition,
    events: i64,
    folder: &Path,
) -> Result<PathBuf, RetentionError> {
    let written = export::write(pool, partition, events, folder).await;
    written.map_err(|source| RetentionError::Export {
        partition: partition.name.clone(),
        source,
    })
}

/// Gives closed partitions the index that looks into history use; the open ones do without, since
/// each index costs every append. Relays do it by themselves; says which were still to do, none
/// while another does it.
///
/// # Errors
/// The database's.
pub async fn index_history(pool: &PgPool) -> Result<Vec<String>, sqlx::Error> {
    let need = needed(pool).await?;
    partition::index_below(pool, need.from).await
}

async fn oldest_kept(pool: &PgPool, days: i32) -> Result<DateTime<Utc>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- retention: oldest instant to be kept
        select clock_timestamp() - make_interval(days => $1) as "until!"
        "#,
        days,
    )
    .fetch_one(pool)
    .await
}

/// Who needs the oldest events.
struct Need {
    /// Everything below this id is needed by nobody.
    from: i64,
    by: String,
}

/// A place in the log reads from the tick before its own, and what lies at or below that tick's
/// floor was visible in it: it was read. A place whose tick is not there needs everything.
async fn needed(pool: &PgPool) -> Result<Need, sqlx::Error> {
    sqlx::query_as!(
        Need,
        r#"
        -- retention: who needs the oldest events
        with place as (
            select distinct on (consumer, generation, lane, shard)
                format('consumer %s', name) as by, tick
            from outbox.position
            join outbox.consumer using (consumer, generation)
            order by consumer, generation, lane, shard, n desc
        ),
        need as (
            select by, coalesce(floor + 1, 0) as id
            from place
            left join outbox.tick on n = greatest(place.tick - 1, 0)
            union all
            select format('stream %s', stream), coalesce(floor + 1, 0)
            from outbox.stream
            left join outbox.tick on n = greatest(stream.tick - 1, 0)
            union all
            select 'the relay', floor + 1
            from (select floor from outbox.tick order by n desc limit 1) as newest
            union all
            select format('delivery of %s', name), id
            from outbox.delivery
            join outbox.consumer using (consumer)
            where state <> 'dead'
            union all
            select format('batch %s', name), above_id
            from outbox.batch
            where state in ('open', 'sealed')
        )
        select by as "by!", id as "from!"
        from need
        order by id
        limit 1
        "#
    )
    .fetch_one(pool)
    .await
}

/// Removes ticks that are old and that nobody reads from. Those stay that tell the highest id, and
/// the beginning of the newest chain.
async fn prune(pool: &PgPool, until: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "
        -- retention: prune ticks
        with place as (
            select distinct on (consumer, generation, lane, shard) tick
            from outbox.position
            join outbox.consumer using (consumer, generation)
            order by consumer, generation, lane, shard, n desc
        ),
        last as (
            select least(
                (select min(tick) from place),
                (select min(tick) from outbox.stream),
                (select max(n) from outbox.tick)
            ) - 1 as n
        )
        delete from outbox.tick
        using last
        where tick.n < last.n and at < $1 and base is null
            and max_id < (select max(max_id) from outbox.tick where n >= last.n)
            -- From here the next floor is looked for.
            and xid < (select xid from outbox.tick where n = last.n)
        ",
        until,
    )
    .execute(pool)
    .await?;
    Ok(pruned.rows_affected())
}

//! A position: how far a shard of a consumer has come, one scalar `(tick, id)`.
//!
//! The table is append-only and its key is the fence: row n+1 can be inserted once. Whoever settles
//! inserts it first, and who finds it taken has lost the shard and must not settle.
//!
//! Owns `outbox.position`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use crate::event::{Lane, LogPoint};
use crate::member::Claimant;
use crate::mutant::{self, Mutant};

mod unguarded;

/// The number of the last row of a generation that is over: nobody can insert a higher one.
pub(crate) const CLOSED: i64 = i64::MAX;

/// A share of a consumer's keys in one lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Shard {
    pub(crate) consumer: i16,
    pub(crate) generation: i16,
    pub(crate) lane: Lane,
    pub(crate) number: i16,
}

/// The newest row of a shard, as last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cursor {
    pub(crate) n: i64,
    pub(crate) at: LogPoint,
    pub(crate) passed: i64,
}

/// Whether the shard was still ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fence {
    Held(Cursor),
    Lost,
}

/// Where a shard is moved to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move {
    pub(crate) to: LogPoint,
    /// When the tick of `to` was cut. A crash of the server may lose the newest tick, and another
    /// is cut under its number: a process that read the lost one must not settle by it.
    pub(crate) cut_at: DateTime<Utc>,
    /// How many events of the consumer's topics are passed by this move.
    pub(crate) passed: i64,
}

/// Moves a shard on. The transaction must be READ COMMITTED and this its first statement: an older
/// snapshot would pass the guard, and a loser would do all its work before it learns that it lost.
pub(crate) async fn advance(
    tx: &mut PgConnection,
    shard: Shard,
    cursor: Cursor,
    step: Move,
) -> Result<Fence, sqlx::Error> {
    if mutant::is(Mutant::FenceByKeyAlone) {
        return unguarded::advance(tx, shard, cursor, step).await;
    }
    let passed = cursor.passed + step.passed;
    let moved = sqlx::query!(
        "
        -- position: advance
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select $1, $2, $3, $4, $5::bigint + 1, $6, $7, $8
        where $5 = (
            select max(n) from outbox.position
            where consumer = $1 and generation = $2 and lane = $3 and shard = $4
        )
        and exists (select from outbox.tick where n = $6 and at = $9)
        on conflict do nothing
        ",
        shard.consumer,
        shard.generation,
        shard.lane.code(),
        shard.number,
        cursor.n,
        step.to.tick,
        step.to.id,
        passed,
        step.cut_at,
    )
    .execute(tx)
    .await?;
    Ok(if moved.rows_affected() == 1 {
        Fence::Held(Cursor {
            n: cursor.n + 1,
            at: step.to,
            passed,
        })
    } else {
        Fence::Lost
    })
}

/// Moves several shards of a consumer and lane on, or none of them. Like [`advance`], it must be
/// the first statement of a READ COMMITTED transaction, which has to be rolled back when nothing is
/// answered.
pub(crate) async fn advance_all(
    tx: &mut PgConnection,
    moves: &[(Shard, Cursor, Move)],
) -> Result<Option<Vec<Cursor>>, sqlx::Error> {
    let Some((of, ..)) = moves.first() else {
        return Ok(Some(Vec::new()));
    };
    let moved: Vec<Cursor> = moves
        .iter()
        .map(|(_, cursor, step)| Cursor {
            n: cursor.n + 1,
            at: step.to,
            passed: cursor.passed + step.passed,
        })
        .collect();
    let numbers: Vec<i16> = moves.iter().map(|(shard, ..)| shard.number).collect();
    let n: Vec<i64> = moved.iter().map(|cursor| cursor.n).collect();
    let ticks: Vec<i64> = moved.iter().map(|cursor| cursor.at.tick).collect();
    let ids: Vec<i64> = moved.iter().map(|cursor| cursor.at.id).collect();
    let passed: Vec<i64> = moved.iter().map(|cursor| cursor.passed).collect();
    let cut_at: Vec<DateTime<Utc>> = moves.iter().map(|(.., step)| step.cut_at).collect();
    let written = sqlx::query!(
        "
        -- position: advance several
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select $1, $2, $3, move.shard, move.n, move.tick, move.id, move.passed
        from unnest(
            $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
            $9::timestamptz[]
        ) as move (shard, n, tick, id, passed, cut_at)
        where move.n - 1 = (
            select max(position.n) from outbox.position
            where consumer = $1 and generation = $2 and lane = $3
                and position.shard = move.shard
        )
        and exists (
            select from outbox.tick where tick.n = move.tick and tick.at = move.cut_at
        )
        on conflict do nothing
        ",
        of.consumer,
        of.generation,
        of.lane.code(),
        &numbers,
        &n,
        &ticks,
        &ids,
        &passed,
        &cut_at,
    )
    .execute(tx)
    .await?;
    Ok((written.rows_affected() == moves.len() as u64).then_some(moved))
}

/// Claims a shard for calls to the outside: a row at the same place, with an owner and a deadline.
/// Refused while another owner's claim runs, so that two processes do not call for the same event.
/// It runs until its deadline, or until its owner falls silent if the claimant may succeed it.
pub(crate) async fn claim(
    tx: &mut PgConnection,
    shard: Shard,
    cursor: Cursor,
    claimant: Claimant,
) -> Result<Fence, sqlx::Error> {
    let claimed = sqlx::query!(
        "
        -- position: claim
        insert into outbox.position
            (consumer, generation, lane, shard, n, tick, id, passed, owner, claim_until)
        select $1, $2, $3, $4, $5::bigint + 1, tick, id, passed, $6,
            clock_timestamp() + make_interval(secs => $7::int)
        from (
            select n, tick, id, passed, owner, claim_until from outbox.position
            where consumer = $1 and generation = $2 and lane = $3 and shard = $4
            order by n desc
            limit 1
        ) as newest
        where n = $5 and (
            claim_until is null or claim_until < clock_timestamp() or owner = $6
            or ($8 and not exists (
                select from outbox.member
                where member = newest.owner and consumer = $1
                    and heartbeat > clock_timestamp() - interval '6 seconds'
            ))
        )
        on conflict do nothing
        ",
        shard.consumer,
        shard.generation,
        shard.lane.code(),
        shard.number,
        cursor.n,
        claimant.member,
        claimant.seconds,
        claimant.succeeds_silent,
    )
    .execute(tx)
    .await?;
    Ok(if claimed.rows_affected() == 1 {
        Fence::Held(Cursor {
            n: cursor.n + 1,
            ..cursor
        })
    } else {
        Fence::Lost
    })
}

/// Gives back the shards that `owner` still claims: it makes no more calls.
pub(crate) async fn release(pool: &PgPool, owner: Uuid) -> Result<u64, sqlx::Error> {
    let released = sqlx::query!(
        "
        -- position: release
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer.consumer, consumer.generation, lanes.lane, number, n + 1, tick, id, passed
        from outbox.consumer
        cross join (values (0), (1)) as lanes (lane)
        cross join generate_series(0, shards - 1) as number
        cross join lateral (
            select n, tick, id, passed, owner, claim_until
            from outbox.position
            where position.consumer = consumer.consumer
                and generation = consumer.generation
                and lane = lanes.lane
                and shard = number
            order by n desc
            limit 1
        ) as newest
        where owner = $1 and claim_until > clock_timestamp()
        on conflict do nothing
        ",
        owner,
    )
    .execute(pool)
    .await?;
    Ok(released.rows_affected())
}

/// Gives back claims on shards of a lane that are no longer ours: a batch that broke off left them,
/// and their new owner would wait for their deadlines, since we live.
pub(crate) async fn give_back(
    pool: &PgPool,
    claimant: Claimant,
    (generation, lane): (i16, Lane),
    ours: &[i16],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "
        -- position: give back what is another's
        insert into outbox.position (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, $2, $3, number, n + 1, tick, id, passed
        from outbox.consumer
        cross join generate_series(0, shards - 1) as number
        cross join lateral (
            select n, tick, id, passed, owner, claim_until
            from outbox.position
            where position.consumer = consumer.consumer
                and generation = $2 and lane = $3 and shard = number
            order by n desc
            limit 1
        ) as newest
        where consumer = $1 and owner = $4 and claim_until > clock_timestamp()
            and number <> all ($5::smallint[])
        on conflict do nothing
        ",
        claimant.consumer,
        generation,
        lane.code(),
        claimant.member,
        ours,
    )
    .execute(pool)
    .await
    .map(drop)
}

/// The newest rows of a consumer's shards in a lane, one look-up each: a busy shard writes
/// thousands of rows an hour. None of a generation that is over.
pub(crate) async fn newest(
    pool: &PgPool,
    consumer: i16,
    generation: i16,
    lane: Lane,
) -> Result<Vec<(i16, Cursor)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        -- position: newest of each shard
        select newest.shard, newest.n, newest.tick, newest.id, newest.passed
        from outbox.consumer
        cross join generate_series(0, shards - 1) as number
        cross join lateral (
            select shard, n, tick, id, passed
            from outbox.position
            where consumer = $1 and generation = $2 and lane = $3 and shard = number
            order by n desc
            limit 1
        ) as newest
        where consumer = $1 and newest.n < $4
        "#,
        consumer,
        generation,
        lane.code(),
        CLOSED,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            let at = LogPoint {
                tick: row.tick,
                id: row.id,
            };
            (
                row.shard,
                Cursor {
                    n: row.n,
                    at,
                    passed: row.passed,
                },
            )
        })
        .collect())
}

/// Removes rows that nobody needs: older than an hour and not the newest. The newest must stay,
/// or a frozen process could insert its n+1 a second time.
pub(crate) async fn prune(pool: &PgPool, consumer: i16) -> Result<u64, sqlx::Error> {
    let pruned = sqlx::query!(
        "
        -- position: prune
        delete from outbox.position as old
        where consumer = $1
            and at < clock_timestamp() - interval '1 hour'
            and n < (
                select max(n) from outbox.position as newest
                where newest.consumer = old.consumer
                    and newest.generation = old.generation
                    and newest.lane = old.lane
                    and newest.shard = old.shard
            )
        ",
        consumer,
    )
    .execute(pool)
    .await?;
    Ok(pruned.rows_affected())
}

/// The number of the newest row that `owner` has claimed since row `n`; `n` itself if there is
/// none.
pub(crate) async fn newest_claim(
    pool: &PgPool,
    shard: Shard,
    n: i64,
    owner: Uuid,
) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- position: newest claim of ours
        select coalesce(max(n), $5) as "n!"
        from outbox.position
        where consumer = $1 and generation = $2 and lane = $3 and shard = $4
            and n > $5 and owner = $6
        "#,
        shard.consumer,
        shard.generation,
        shard.lane.code(),
        shard.number,
        n,
        owner,
    )
    .fetch_one(pool)
    .await
}

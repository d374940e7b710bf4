//! A tick: a snapshot, stored. The events of tick n are those visible in snapshot n and not in
//! snapshot n-1, so each committed transaction falls in exactly one tick, whatever its ids are and
//! however long others stay open.
//!
//! Owns `outbox.tick`.

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgPool};

use crate::event::Lane;
use crate::mutant::{self, Mutant};

/// A Postgres snapshot: which transactions had ended when it was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// Every transaction below has ended.
    pub(crate) xmin: u64,
    /// No transaction at or above had begun to write.
    pub(crate) xmax: u64,
    /// Those between that were still open, ascending.
    pub(crate) xip: Vec<u64>,
}

impl Snapshot {
    /// Parses Postgres' text form `xmin:xmax:xip,xip`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let xmin = parts.next()?.parse().ok()?;
        let xmax = parts.next()?.parse().ok()?;
        let list = parts.next()?;
        let xip = if list.is_empty() {
            Vec::new()
        } else {
            list.split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()
                .ok()?
        };
        Some(Self { xmin, xmax, xip })
    }

    /// Whether the snapshot sees a committed transaction.
    pub(crate) fn sees(&self, xid: u64) -> bool {
        xid < self.xmin || (xid < self.xmax && self.xip.binary_search(&xid).is_err())
    }
}

/// The bounds of a diff as query parameters. Passed as constants: asked per row, a snapshot that
/// stands in a table is unpacked per row.
#[derive(Debug)]
pub(crate) struct Diff {
    pub(crate) from: String,
    pub(crate) below: String,
    /// Open in the upper snapshot: not yet.
    pub(crate) open: Vec<String>,
    /// Open in the lower snapshot and not in the upper: the late ones.
    pub(crate) late: Vec<String>,
}

impl Diff {
    pub(crate) fn between(lower: &Snapshot, upper: &Snapshot) -> Self {
        Self {
            from: lower.xmax.to_string(),
            below: upper.xmax.to_string(),
            open: upper.xip.iter().map(u64::to_string).collect(),
            late: lower
                .xip
                .iter()
                .filter(|xid| upper.sees(**xid))
                .filter(|_| !mutant::is(Mutant::LateOnesForgotten))
                .map(u64::to_string)
                .collect(),
        }
    }

    /// What a snapshot does not see, whatever came later. Of rows with ids that end somewhere, this
    /// is what a rebase looks for.
    pub(crate) fn beyond(lower: &Snapshot) -> Self {
        Self {
            from: lower.xmax.to_string(),
            below: u64::MAX.to_string(),
            open: Vec::new(),
            late: lower.xip.iter().map(u64::to_string).collect(),
        }
    }

    /// All transactions.
    pub(crate) fn all() -> Self {
        Self {
            from: "0".to_owned(),
            below: u64::MAX.to_string(),
            open: Vec::new(),
            late: Vec::new(),
        }
    }
}

/// A stored tick.
#[derive(Debug, Clone)]
pub(crate) struct Tick {
    pub(crate) n: i64,
    pub(crate) snapshot: Snapshot,
    pub(crate) floor: i64,
    /// Of both lanes.
    pub(crate) events: i64,
    /// Of the bulk lane; unknown for a tick that was cut before it was counted, or of a rebase.
    pub(crate) bulk: Option<i64>,
    pub(crate) max_id: i64,
    /// Its lowest id; unknown for a tick that was cut before it was noted, or of a rebase.
    pub(crate) min_id: Option<i64>,
    /// Whether it may hold one of the topics that were asked for, if any were.
    pub(crate) is_wanted: bool,
    /// For a tick that begins a chain in another cluster: the highest id of the chain before.
    pub(crate) base: Option<i64>,
    /// Tells this tick from another of the same number, which a crash of the server can bring
    /// about.
    pub(crate) at: DateTime<Utc>,
}

impl Tick {
    /// How many events of a lane it holds, or of both where that is not known.
    pub(crate) fn of(&self, lane: Lane) -> i64 {
        match (lane, self.bulk) {
            (_, None) => self.events,
            (Lane::Bulk, Some(bulk)) => bulk,
            (Lane::Interactive, Some(bulk)) => self.events - bulk,
        }
    }
}

/// What a diff holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) events: i64,
    /// When the first of them was appended.
    pub(crate) oldest: Option<DateTime<Utc>>,
}

fn unreadable(text: &str) -> sqlx::Error {
    sqlx::Error::Decode(format!("not a snapshot: {text}").into())
}

/// Ticks `from, from+1, …`, at most `limit`, and whether they are wanted by who reads certain
/// topics.
pub(crate) async fn from(
    conn: &mut PgConnection,
    from: i64,
    limit: i64,
    topics: Option<&[String]>,
) -> Result<Vec<Tick>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        -- tick: read on
        select n, snapshot::text as "snapshot!", floor, events, bulk, max_id, min_id, base,
            at, coalesce(topics && $3, true) as "is_wanted!"
        from outbox.tick
        where n >= $1
        order by n
        limit $2
        "#,
        from,
        limit,
        topics,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter()
        .map(|row| {
            let snapshot =
                Snapshot::parse(&row.snapshot).ok_or_else(|| unreadable(&row.snapshot))?;
            Ok(Tick {
                n: row.n,
                snapshot,
                floor: row.floor,
                events: row.events,
                bulk: row.bulk,
                max_id: row.max_id,
                min_id: row.min_id,
                is_wanted: row.is_wanted,
                base: row.base,
                at: row.at,
            })
        })
        .collect()
}

/// The newest tick, and the snapshot of the transaction that asks.
pub(crate) async fn newest(
    conn: &mut PgConnection,
) -> Result<(Tick, Snapshot, String), sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- tick: newest
        select n, snapshot::text as "snapshot!", floor, events, bulk, max_id, min_id, base,
            at, pg_current_snapshot()::text as "current!"
        from outbox.tick
        order by n desc
        limit 1
        "#,
    )
    .fetch_one(conn)
    .await?;
    let snapshot = Snapshot::parse(&row.snapshot).ok_or_else(|| unreadable(&row.snapshot))?;
    let current = Snapshot::parse(&row.current).ok_or_else(|| unreadable(&row.current))?;
    Ok((
        Tick {
            n: row.n,
            snapshot,
            floor: row.floor,
            events: row.events,
            bulk: row.bulk,
            max_id: row.max_id,
            min_id: row.min_id,
            is_wanted: true,
            base: row.base,
            at: row.at,
        },
        current,
        row.current,
    ))
}

/// Counts the events of a diff, of both lanes. An arm per lane, for the partial indexes; an arm for
/// the range and one for the late, because OR would read the whole table.
pub(crate) async fn content(
    conn: &mut PgConnection,
    diff: &Diff,
    floor: i64,
) -> Result<Content, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        -- tick: content of a diff
        select count(*) as "events!", min(at) as oldest
        from (
            select at from outbox.event
            where lane = 0 and id > $5 and xid >= $1::text::xid8 and xid < $2::text::xid8
                and xid <> all ($3::text[]::xid8[])
            union all
            select at from outbox.event
            where lane = 1 and id > $5 and xid >= $1::text::xid8 and xid < $2::text::xid8
                and xid <> all ($3::text[]::xid8[])
            union all
            select at from outbox.event
            where lane = 0 and id > $5 and xid = any ($4::text[]::xid8[])
            union all
            select at from outbox.event
            where lane = 1 and id > $5 and xid = any ($4::text[]::xid8[])
        ) as new
        "#,
        diff.from,
        diff.below,
        &diff.open,
        &diff.late,
        floor,
    )
    .fetch_one(conn)
    .await?;
    Ok(Content {
        events: row.events,
        oldest: row.oldest,
    })
}

/// What a look for new events came to.
pub(crate) struct Looked {
    /// How many are in no tick yet, or were not before this look.
    pub(crate) events: i64,
    /// How many are in the tick that was cut, if one was.
    pub(crate) cut: Option<i64>,
    /// The last id that was drawn, for the next look.
    pub(crate) sequence: i64,
}

/// The last id that was drawn; 0 if none was.
pub(crate) async fn drawn(pool: &PgPool) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        -- tick: the last id that was drawn
        select case when is_called then last_value else 0 end as "id!" from outbox.event_id
        "#
    )
    .fetch_one(pool)
    .await
}

/// Cuts the next tick if anything new was committed.
///
/// One statement sees one snapshot, so the newest tick and what became visible since are of one
/// instant, in one round trip. The tick may be lost by a crash of the server
/// (`synchronous_commit = off`): whoever acted on it commits after it, and the write-ahead log
/// keeps that order, so a position never names a tick that is gone.
///
/// **The floor.** An event that is invisible here has a transaction id at or above our xmin, and
/// drew its own id after it. The transaction that cut a tick got its id after `sequence` was read;
/// if that id is below our xmin, all those events were drawn above that `sequence`. The tick's own
/// xmax would not do: it is one past the highest transaction that had ended, and a higher one may
/// already have drawn ids. So `sequence` has to be read before the statement begins: the look
/// before this one read it, and an older one only lowers the floor. A crash of the server can set
/// the sequence back behind what no commit made durable: then nothing that was read before counts.
/// It is asked before this statement has a transaction id, so what is drawn later is above it. Nor
/// is a tick cut where transactions are behind the last one's: the server may be another one since
/// it was looked at.
///
/// What is new is asked for per lane, for the partial indexes; by range and late ones apart,
/// because OR would read the whole table.
pub(crate) async fn cut(pool: &PgPool, sequence: i64) -> Result<Looked, sqlx::Error> {
    sqlx::query_as!(
        Looked,
        r#"
        -- tick: cut the next one
        with bound as materialized (
            select n, floor, pg_snapshot_xmax(snapshot) as lower,
                pg_snapshot_xmax(pg_current_snapshot()) as upper,
                array(select pg_snapshot_xip(pg_current_snapshot())) as open,
                array(
                    select xid from pg_snapshot_xip(snapshot) as xid
                    where pg_visible_in_snapshot(xid, pg_current_snapshot())
                ) as late
            from (select * from outbox.tick order by n desc limit 1) as newest
        ),
        new as (
            select id, lane, topic from outbox.event
            where lane = 0 and id > (select floor from bound)
                and xid >= (select lower from bound) and xid < (select upper from bound)
                and xid <> all ((select open from bound)::xid8[])
            union all
            select id, lane, topic from outbox.event
            where lane = 1 and id > (select floor from bound)
                and xid >= (select lower from bound) and xid < (select upper from bound)
                and xid <> all ((select open from bound)::xid8[])
            union all
            select id, lane, topic from outbox.event
            where lane = 0 and id > (select floor from bound)
                and xid = any ((select late from bound)::xid8[])
            union all
            select id, lane, topic from outbox.event
            where lane = 1 and id > (select floor from bound)
                and xid = any ((select late from bound)::xid8[])
        ),
        content as materialized (
            select coalesce(sum(events), 0)::bigint as events,
                coalesce(sum(events) filter (where lane = 1), 0)::bigint as bulk,
                max(max_id) as max_id, min(min_id) as min_id, array_agg(topic) as topics
            from (
                select lane, topic, count(*) as events, max(id) as max_id, min(id) as min_id
                from new group by lane, topic
            ) as part
        ),
        drawn as materialized (
            select case when is_called then last_value else 0 end as id from outbox.event_id
        ),
        cut as (
            insert into outbox.tick
                (n, snapshot, sequence, floor, events, bulk, max_id, min_id, topics)
            select n + 1, pg_current_snapshot(), case when drawn.id < $1 then 0 else $1 end,
                greatest(floor, (
                    select sequence from outbox.tick
                    where xid < pg_snapshot_xmin(pg_current_snapshot())
                    order by xid desc limit 1
                )), events, bulk, max_id, min_id, topics
            from bound, content, drawn
            where events > 0 and upper >= lower
                and set_config('synchronous_commit', 'off', true) is not null
            on conflict (n) do nothing
            returning events
        )
        select events as "events!", (select events from cut) as cut, drawn.id as "sequence!"
        from content, drawn
        "#,
        sequence,
    )
    .fetch_one(pool)
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_sees_what_had_ended() {
        let snapshot = Snapshot::parse("10:20:12,15").expect("well formed");
        let seen: Vec<u64> = (8..22).filter(|xid| snapshot.sees(*xid)).collect();
        assert_eq!(seen, [8, 9, 10, 11, 13, 14, 16, 17, 18, 19]);
        let alone = Snapshot::parse("10:10:").expect("well formed");
        assert_eq!(alone.xip, Vec::<u64>::new());
        assert_eq!(Snapshot::parse("10:x:"), None);
    }

    #[test]
    fn a_diff_names_the_late_and_leaves_out_the_open() {
        let lower = Snapshot::parse("10:20:10,15,17").expect("well formed");
        let upper = Snapshot::parse("15:30:15,25").expect("well formed");
        let diff = Diff::between(&lower, &upper);
        assert_eq!((diff.from.as_str(), diff.below.as_str()), ("20", "30"));
        assert_eq!(diff.open, ["15", "25"]);
        assert_eq!(diff.late, ["10", "17"]);
    }
}

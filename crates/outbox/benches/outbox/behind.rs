//! The flow from end to end where others would slow down: beside a snapshot that is held open, and
//! with many events behind.
//!
//! Each turn measures without and with, rate and latency; every other turn begins with.

use anyhow::Result;
use serde_json::{Map, Value, json};
use sqlx::{Connection as _, PgConnection};

use testkit::Server;

use crate::Args;
use crate::figures::{Turn, Waits, median_of, number, rate, ratios, spread, told};
use crate::flow::{self, Flow};
use crate::log::Log;

/// Rate and latency of one side.
#[derive(Default)]
struct Side {
    turns: Vec<Turn>,
    waits: Waits,
}

/// Without and with what slows others down.
#[derive(Default)]
struct Sides {
    without: Side,
    with: Side,
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let mut report = Map::new();
    report.insert("held_snapshot".to_owned(), held(server, args).await?);
    report.insert("backlog_10m".to_owned(), backlog(server, args).await?);
    Ok(report)
}

impl Side {
    async fn measure(&mut self, server: &Server, log: &Log, args: &Args) -> Result<()> {
        let unpaced = flow::run(server, log, Flow::unpaced(args)).await?;
        self.turns.push(unpaced.turn);
        let paced = flow::run(server, log, Flow::paced(args, 100)).await?;
        self.waits.add(&paced.seen);
        Ok(())
    }
}

impl Sides {
    fn told(self) -> Value {
        let (without, with) = (&self.without.turns, &self.with.turns);
        let ratios = ratios(with, without);
        json!({
            "ratio": number(median_of(&ratios)),
            "ratio_turns": spread(ratios),
            "per_s": rate(with),
            "without_per_s": rate(without),
            "turns": told(with),
            "without_turns": told(without),
            "latency_ms": { "at_100": self.with.waits.told() },
            "without_latency_ms": { "at_100": self.without.waits.told() },
        })
    }
}

/// Beside a snapshot that stays open for the turn, and what a vacuum could not clear away.
async fn held(server: &Server, args: &Args) -> Result<Value> {
    let log = Log::fresh(server, "held").await?;
    let (mut sides, mut dead) = (Sides::default(), 0);
    for turn in 1..=args.repeats {
        eprintln!("held snapshot: turn {turn} of {}", args.repeats);
        for is_held in in_turn(turn) {
            if is_held {
                let holder = hold(&log).await?;
                sides.with.measure(server, &log, args).await?;
                dead = log.dead_tuples().await?.max(dead);
                holder.close().await?;
            } else {
                sides.without.measure(server, &log, args).await?;
            }
        }
    }
    log.close().await;
    let mut told = sides.told();
    told["dead_tuples"] = dead.into();
    Ok(told)
}

async fn hold(log: &Log) -> Result<PgConnection> {
    let mut holder = PgConnection::connect(&log.url).await?;
    let begin = "begin isolation level repeatable read; select count(*) from outbox.event";
    sqlx::raw_sql(begin).execute(&mut holder).await?;
    Ok(holder)
}

/// Two logs: one holds what passes through it, the other has a past.
async fn backlog(server: &Server, args: &Args) -> Result<Value> {
    let empty = Log::fresh(server, "without_a_past").await?;
    let full = Log::fresh(server, "with_a_past").await?;
    // Its consumer exists before its past does, and is then put behind it.
    flow::run(server, &full, Flow::unpaced(args)).await?;
    full.generate(args.backlog, &[0, 1]).await?;
    pass_everything(&full).await?;
    let mut sides = Sides::default();
    for turn in 1..=args.repeats {
        eprintln!("backlog: turn {turn} of {}", args.repeats);
        for has_past in in_turn(turn) {
            if has_past {
                sides.with.measure(server, &full, args).await?;
            } else {
                sides.without.measure(server, &empty, args).await?;
            }
        }
    }
    empty.close().await;
    full.close().await;
    let mut told = sides.told();
    told["events"] = args.backlog.into();
    Ok(told)
}

fn in_turn(turn: u32) -> [bool; 2] {
    let with_first = turn.is_multiple_of(2);
    [with_first, !with_first]
}

/// All events that are there lie behind every consumer.
async fn pass_everything(log: &Log) -> Result<()> {
    let pass = "insert into outbox.position
            (consumer, generation, lane, shard, n, tick, id, passed)
        select consumer, generation, lane, shard, max(n) + 1, max(newest.n2), max(newest.max_id), 0
        from outbox.position,
            (select n as n2, max_id from outbox.tick order by n desc limit 1) as newest
        group by consumer, generation, lane, shard";
    sqlx::raw_sql(pass).execute(&log.pool).await?;
    sqlx::raw_sql("vacuum analyze").execute(&log.pool).await?;
    Ok(())
}

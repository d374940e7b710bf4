//! The relay by itself: how fast it cuts, and what it costs beside writers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use outbox::{Cut, Relay};
use rust_decimal::Decimal;
use serde_json::{Value, json};

use testkit::Server;

use crate::Args;
use crate::append;
use crate::figures::{median_of, number, of_each, per_s, seconds, spread};
use crate::flow::{relay, until_all_listen};
use crate::log::Log;
use crate::roles::Append;
use crate::server::{self, processor_ms_of};

/// How many events a tick holds where the relay alone is watched.
const SIZES: [u64; 2] = [1, 1_000];

/// Beside whom it works.
const LOADS: [Load; 3] = [Load::Paced, Load::OneEach, Load::ThousandEach];

#[derive(Debug, Clone, Copy)]
enum Load {
    /// A hundred commits a second.
    Paced,
    /// Commits of one event as fast as possible.
    OneEach,
    /// Commits of a thousand events as fast as possible.
    ThousandEach,
}

/// What a relay did.
#[derive(Debug, Clone, Copy)]
struct Relayed {
    ticks: u64,
    events: u64,
    took_us: u128,
    /// Processor time of its process, and of the server's processes that work for it.
    own_ms: u64,
    backend_ms: u64,
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Value> {
    let (mut cut, mut beside): ([Vec<_>; SIZES.len()], [Vec<_>; LOADS.len()]) = Default::default();
    for turn in 1..=args.repeats {
        eprintln!("relay: turn {turn} of {}", args.repeats);
        let log = Log::fresh(server, &format!("relay_{turn}")).await?;
        server::checkpoint(server).await?;
        for (size, turns) in SIZES.into_iter().zip(&mut cut) {
            turns.push(alone(&log, args, size).await?);
        }
        for (load, turns) in LOADS.into_iter().zip(&mut beside) {
            let relayed = load.watch(server, &log, args).await?;
            eprintln!("relay: {load:?} {relayed:?}");
            turns.push(relayed);
        }
        log.close().await;
    }
    let [one, thousand] = cut.map(|turns| Relayed::rates(&turns));
    let [at_100, one_each, thousand_each] = beside.map(|turns| Relayed::told(&turns));
    Ok(json!({
        "cut": { "one_event": one, "thousand_events": thousand },
        "beside_writers": {
            "at_100": at_100,
            "one_per_commit": one_each,
            "thousand_per_commit": thousand_each,
        },
    }))
}

/// Nobody else works while a tick is cut, and only the cutting is timed.
async fn alone(log: &Log, args: &Args, size: u64) -> Result<Relayed> {
    let (relay, time) = (
        Relay::new(log.outbox.clone()),
        Duration::from_secs(args.seconds),
    );
    let (began, mut took, mut ticks) = (Instant::now(), Duration::ZERO, 0);
    while began.elapsed() < time {
        log.append(size).await?;
        let cutting = Instant::now();
        while relay.cut().await? != Cut::Nothing {
            ticks += 1;
        }
        took += cutting.elapsed();
    }
    Ok(Relayed {
        ticks,
        events: ticks * size,
        took_us: took.as_micros(),
        own_ms: 0,
        backend_ms: 0,
    })
}

impl Load {
    /// From the first append until everything is in a tick.
    async fn watch(self, server: &Server, log: &Log, args: &Args) -> Result<Relayed> {
        let mut relay = relay(log, None)?;
        let pid = relay.id().context("the relay has ended")?;
        until_all_listen(log, 0).await?;
        let (ticks, events) = published(log).await?;
        let (own_ms, backend_ms) = (processor_ms_of(pid), backends_ms(server, log).await?);
        let began = Instant::now();
        self.append(log, args).await?;
        while outbox::pending(&log.pool).await? > 0 {
            outbox::clock::pause(Duration::from_millis(5)).await;
        }
        let took_us = began.elapsed().as_micros();
        let (now_ticks, now_events) = published(log).await?;
        let relayed = Relayed {
            ticks: now_ticks - ticks,
            events: now_events - events,
            took_us,
            own_ms: processor_ms_of(pid) - own_ms,
            backend_ms: backends_ms(server, log).await? - backend_ms,
        };
        relay.kill().await?;
        Ok(relayed)
    }

    async fn append(self, log: &Log, args: &Args) -> Result<()> {
        let time = Duration::from_secs(args.seconds);
        match self {
            Self::Paced => {
                let (url, per_s) = (log.url.clone(), 100);
                let (events, per_s) = (per_s * args.watched, Some(per_s));
                return Append { url, events, per_s }.play().await;
            }
            Self::OneEach => append::alone(log, time).await?,
            Self::ThousandEach => append::bulk(log, time).await?,
        };
        Ok(())
    }
}

/// Ticks, and the events in them.
async fn published(log: &Log) -> Result<(u64, u64)> {
    let counted = "select count(*), coalesce(sum(events), 0)::bigint from outbox.tick";
    let (ticks, events): (i64, i64) = sqlx::query_as(counted).fetch_one(&log.pool).await?;
    Ok((ticks.unsigned_abs(), events.unsigned_abs()))
}

/// Sessions of processes named `relay`, which stay connected.
async fn backends_ms(server: &Server, log: &Log) -> Result<u64> {
    let mut connection = server.connect().await?;
    let pids: Vec<i32> = sqlx::query_scalar(
        "select pid from pg_stat_activity
        where application_name = 'relay' and datname = $1",
    )
    .bind(&log.name)
    .fetch_all(&mut connection)
    .await?;
    Ok(pids
        .into_iter()
        .map(|pid| processor_ms_of(pid.unsigned_abs()))
        .sum())
}

impl Relayed {
    fn rates(turns: &[Self]) -> Value {
        let of = |count: fn(&Self) -> u64| {
            let rate = |turn: &Self| per_s(count(turn), turn.took_us);
            spread(turns.iter().map(rate).collect())
        };
        json!({
            "ticks_per_s": of(|turn| turn.ticks),
            "events_per_s": of(|turn| turn.events),
        })
    }

    fn told(turns: &[Self]) -> Value {
        let each = |of: fn(&Self) -> Decimal| turns.iter().map(of).collect::<Vec<_>>();
        let mut told = Self::rates(turns);
        told["events_per_tick"] = number(median_of(&each(|turn| of_each(turn.events, turn.ticks))));
        told["cpu_us_per_event"] = spread(each(|turn| of_each(turn.cpu_us(), turn.events)));
        told["cpu_us_per_tick"] = spread(each(|turn| of_each(turn.cpu_us(), turn.ticks)));
        told["relay_cpu_s"] = number(median_of(&each(|turn| seconds(turn.own_ms))));
        told["server_cpu_s"] = number(median_of(&each(|turn| seconds(turn.backend_ms))));
        told
    }

    /// The relay's process and its sessions together.
    fn cpu_us(&self) -> u64 {
        (self.own_ms + self.backend_ms) * 1_000
    }
}

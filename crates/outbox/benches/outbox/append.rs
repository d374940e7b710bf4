//! What an append costs beside the reference.

use std::time::Duration;

use anyhow::Result;
use outbox::Origin;
use serde_json::{Map, Value, json};

use testkit::Server;

use crate::Args;
use crate::figures::{Turn, median_of, number, rate, ratios, spread, told};
use crate::log::{Log, event};
use crate::reference::{self, BULK, Counted, count_for};
use crate::server;

/// What is compared, each beside its reference. What is written in bulk comes after all the rest
/// and into tables of its own: the server goes on vacuuming them, which no single commit costs.
const COMPARED: [&[What]; 2] = [
    &[
        What::Reference,
        What::Alone,
        What::ReferenceBusiness,
        What::Business,
    ],
    &[What::ReferenceBulk, What::Bulk],
];
const NUMBER: usize = 6;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Reference,
    Alone,
    ReferenceBusiness,
    Business,
    ReferenceBulk,
    Bulk,
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let mut turns = Turns::default();
    for (nth, compared) in COMPARED.into_iter().enumerate() {
        let log = Log::fresh(server, &format!("append_{nth}")).await?;
        reference::prepare(&log).await?;
        for turn in 1..=args.repeats {
            eprintln!("append: turn {turn} of {}, {compared:?}", args.repeats);
            turns.take(server, &log, (turn, args), compared).await?;
        }
        log.close().await;
    }
    Ok(turns.report())
}

impl What {
    async fn count(self, log: &Log, time: Duration) -> Result<Counted> {
        match self {
            Self::Reference => reference::commits(&log.pool, time).await,
            Self::Alone => alone(log, time).await,
            Self::ReferenceBusiness => reference::business(&log.pool, time).await,
            Self::Business => business(log, time).await,
            Self::ReferenceBulk => reference::bulk(log, time).await,
            Self::Bulk => bulk(log, time).await,
        }
    }
}

pub(crate) async fn alone(log: &Log, time: Duration) -> Result<Counted> {
    count_for(time, async || {
        let mut tx = log.outbox.begin(Origin::of("bench")).await?;
        let locked = tx.locked(outbox::ids::new());
        tx.append(locked, event());
        tx.commit().await?;
        Ok(())
    })
    .await
}

async fn business(log: &Log, time: Duration) -> Result<Counted> {
    count_for(time, async || {
        let mut tx = log.outbox.begin(Origin::of("bench")).await?;
        reference::order(&mut tx).await?;
        let locked = tx.locked(outbox::ids::new());
        tx.append(locked, event());
        tx.commit().await?;
        Ok(())
    })
    .await
}

pub(crate) async fn bulk(log: &Log, time: Duration) -> Result<Counted> {
    let counted = count_for(time, async || {
        let mut tx = log.outbox.begin(Origin::of("bench").bulk()).await?;
        for _ in 0..BULK {
            let locked = tx.locked(outbox::ids::new());
            tx.append(locked, event());
        }
        tx.commit().await?;
        Ok(())
    })
    .await?;
    Ok(counted.of(BULK))
}

/// By what was measured.
#[derive(Debug, Default)]
struct Turns([Vec<Turn>; NUMBER]);

impl Turns {
    /// Every other turn goes backwards: neither always has the other's wake to work in.
    async fn take(
        &mut self,
        server: &Server,
        log: &Log,
        (turn, args): (u32, &Args),
        compared: &[What],
    ) -> Result<()> {
        let time = Duration::from_secs(args.seconds);
        server::checkpoint(server).await?;
        for what in compared {
            what.count(log, time / 8).await?;
        }
        let mut order = compared.to_vec();
        if turn % 2 == 0 {
            order.reverse();
        }
        for what in order {
            let mark = server::mark(server).await?;
            let counted = what.count(log, time).await?;
            let spent = server::since(server, &mark).await?;
            self.0[what as usize].push(Turn {
                events: counted.count,
                per_s: counted.per_s,
                spent,
            });
        }
        Ok(())
    }

    fn report(self) -> Map<String, Value> {
        let of = |what: What| &self.0[what as usize][..];
        let alone = ratios(of(What::Alone), of(What::Reference));
        let business = ratios(of(What::Business), of(What::ReferenceBusiness));
        let bulk = ratios(of(What::Bulk), of(What::ReferenceBulk));
        let mut report = Map::new();
        report.insert(
            "reference".to_owned(),
            json!({
                "commits_per_s": rate(of(What::Reference)),
                "business_commits_per_s": rate(of(What::ReferenceBusiness)),
                "bulk_rows_per_s": rate(of(What::ReferenceBulk)),
                "alone": told(of(What::Reference)),
                "business": told(of(What::ReferenceBusiness)),
                "bulk": told(of(What::ReferenceBulk)),
            }),
        );
        report.insert(
            "append".to_owned(),
            json!({
                "commits_per_s": rate(of(What::Alone)),
                "ratio": number(median_of(&alone)),
                "ratio_turns": spread(alone),
                "business_commits_per_s": rate(of(What::Business)),
                "business_ratio": number(median_of(&business)),
                "business_ratio_turns": spread(business),
                "bulk_per_s": rate(of(What::Bulk)),
                "bulk_ratio": number(median_of(&bulk)),
                "bulk_ratio_turns": spread(bulk),
                "alone": told(of(What::Alone)),
                "business": told(of(What::Business)),
                "bulk": told(of(What::Bulk)),
            }),
        );
        report
    }
}

//! What an append costs beside the reference.

use std::time::Duration;

use anyhow::Result;
use outbox::Origin;
use rust_decimal::Decimal;
use serde_json::{Map, Value, json};

use testkit::Server;

use crate::Args;
use crate::figures::{median_of, number, ratio, spread};
use crate::log::{Log, event};
use crate::reference::{self, BULK, count_for};
use crate::server;

/// What is compared, turn by turn.
#[derive(Default)]
struct Turns {
    reference: Vec<Decimal>,
    reference_business: Vec<Decimal>,
    reference_bulk: Vec<Decimal>,
    alone: Vec<Decimal>,
    business: Vec<Decimal>,
    bulk: Vec<Decimal>,
}

pub(crate) async fn measure(server: &Server, args: &Args) -> Result<Map<String, Value>> {
    let log = Log::fresh(server, "append").await?;
    reference::prepare(&log).await?;
    let time = Duration::from_secs(args.seconds);
    let mut turns = Turns::default();
    for turn in 1..=args.repeats {
        eprintln!("append: turn {turn} of {}", args.repeats);
        server::mark(server).await?;
        let pool = &log.pool;
        turns.reference.push(reference::commits(pool, time).await?);
        turns.alone.push(alone(&log, time).await?);
        turns
            .reference_business
            .push(reference::business(pool, time).await?);
        turns.business.push(business(&log, time).await?);
        turns
            .reference_bulk
            .push(reference::bulk(&log, time).await?);
        turns.bulk.push(bulk(&log, time).await?);
    }
    log.close().await;
    Ok(turns.report())
}

async fn alone(log: &Log, time: Duration) -> Result<Decimal> {
    count_for(time, async || {
        let mut tx = log.outbox.begin(Origin::of("bench")).await?;
        let locked = tx.locked(outbox::ids::new());
        tx.append(locked, event());
        tx.commit().await?;
        Ok(())
    })
    .await
}

async fn business(log: &Log, time: Duration) -> Result<Decimal> {
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

async fn bulk(log: &Log, time: Duration) -> Result<Decimal> {
    let commits = count_for(time, async || {
        let mut tx = log.outbox.begin(Origin::of("bench").bulk()).await?;
        for _ in 0..BULK {
            let locked = tx.locked(outbox::ids::new());
            tx.append(locked, event());
        }
        tx.commit().await?;
        Ok(())
    })
    .await?;
    Ok(commits * Decimal::from(BULK))
}

impl Turns {
    fn report(self) -> Map<String, Value> {
        let of = |figures: &[Decimal]| number(median_of(figures));
        let ratios = |ours: &[Decimal], theirs: &[Decimal]| {
            let pairs = ours.iter().zip(theirs);
            pairs.map(|(our, their)| ratio(*our, *their)).collect()
        };
        let alone: Vec<_> = ratios(&self.alone, &self.reference);
        let business: Vec<_> = ratios(&self.business, &self.reference_business);
        let mut report = Map::new();
        report.insert(
            "reference".to_owned(),
            json!({
                "commits_per_s": of(&self.reference),
                "business_commits_per_s": of(&self.reference_business),
                "bulk_rows_per_s": of(&self.reference_bulk),
            }),
        );
        report.insert(
            "append".to_owned(),
            json!({
                "commits_per_s": of(&self.alone),
                "ratio": of(&alone),
                "ratio_turns": spread(alone),
                "business_commits_per_s": of(&self.business),
                "business_ratio": of(&business),
                "bulk_per_s": of(&self.bulk),
            }),
        );
        report
    }
}

//! Promise: a process that is killed is replaced within ten seconds, by the clock on the wall.
//!
//! Silent for six seconds, it is taken for dead; what it had claimed is void then, where a repeated
//! call is harmless. Payments and notices wait for the deadline of the claim instead, which no call
//! outlasts.

use std::time::{Duration, Instant};

use testkit::until;

use crate::scene::{Charge, PATIENCE, Scene};

const ACCOUNTS: i64 = 2_000;
const REPLACED_WITHIN: Duration = Duration::from_secs(10);

/// One with effects outside of the database, and one without.
const EXTERNAL: &str = "documents";
const TRANSACTIONAL: &str = "collection-report";

/// How many processes run both.
const TOGETHER: &str = "
    select count(*) from (
        select member from outbox.member join outbox.consumer using (consumer)
        where name in ('documents', 'collection-report')
        group by member having count(*) = 2
    ) as both_of_them";

/// How many shards of a consumer somebody has moved since an instant.
fn moved(consumer: &str, since: &str) -> String {
    format!(
        "select count(distinct shard) from outbox.position join outbox.consumer using (consumer)
        where name = '{consumer}' and lane = 1 and at > '{since}'"
    )
}

#[tokio::test]
async fn a_killed_worker_is_replaced_within_ten_seconds() {
    let scene = Scene::open().await;
    let relay = scene.relay("--role relay").start();
    let both = format!("--role worker --consumers {EXTERNAL},{TRANSACTIONAL}");
    let [killed, successor] = [(); 2].map(|()| scene.relay(&both).start());
    scene.until_at_least(2, TOGETHER).await;
    let charge = |n| Charge::new((n, "2024-09"), n, ("vm", "0.25"), n % 9 + 1);
    let usage = scene.usage("usage.csv", &(0..ACCOUNTS).map(charge).collect::<Vec<_>>());
    let close = format!("--usage {usage} --no-workers --chunk 20 --parallel 1");
    let close = scene.month_close(&close).start();
    let written = "select count(*) from billing.document where state = 'written'";
    scene.until_at_least(1, written).await;

    assert!(killed.kill().await);

    let at = Instant::now();
    let since = &scene.texts("select clock_timestamp()::text").await[0];
    let all = "select sum(shards) from outbox.consumer
        where name in ('documents', 'collection-report')";
    assert_eq!(scene.count(all).await, 16);
    until("every shard goes on", PATIENCE, async || {
        let mut shards = 0;
        for consumer in [EXTERNAL, TRANSACTIONAL] {
            shards += scene.count(&moved(consumer, since)).await;
        }
        (shards == 16).then_some(())
    })
    .await
    .unwrap();
    let replaced = at.elapsed();
    println!("replaced within {replaced:.1?}");
    assert!(replaced < REPLACED_WITHIN, "{replaced:?}");

    // The control: it took as long as a silence does, so the killed one had a share.
    assert!(replaced > Duration::from_secs(3), "{replaced:?}");
    close.ended().await.exits(0);
    for process in [relay, successor] {
        process.stop().await.exits(0);
    }
}

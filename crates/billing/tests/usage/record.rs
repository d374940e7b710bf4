//! Usage is counted once, whoever sends it however often.

use billing::usage::{self, Recorded, UsageError};
use rust_decimal::Decimal;

use super::world::{World, usage};

const SUMS: &str = "select period_seq, usage_month, quantity::int, amount::int, events
    from billing.usage_sum order by period_seq, usage_month";

#[tokio::test]
async fn events_are_counted_once() {
    let world = World::new().await;
    let customer = world.customer().await;
    let events = ["a", "b", "a"].map(|id| usage(customer, id, "2024-09-01"));

    let mut tx = world.begin().await;
    let first = usage::record(&mut tx, &events).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = world.begin().await;
    let again = usage::record(&mut tx, &events).await.unwrap();
    tx.commit().await.unwrap();

    assert_eq!(
        first,
        Recorded {
            new: 2,
            repeated: 1
        }
    );
    assert_eq!(
        again,
        Recorded {
            new: 0,
            repeated: 3
        }
    );
    assert_eq!(world.rows(SUMS).await, ["(0,2024-09-01,4,0,2)"]);
}

#[tokio::test]
async fn the_same_id_of_another_source_is_another_event() {
    let world = World::new().await;
    let customer = world.customer().await;
    let mut events = [
        usage(customer, "a", "2024-09-01"),
        usage(customer, "a", "2024-09-01"),
    ];
    events[1].key.source = "router".to_owned();

    let mut tx = world.begin().await;
    let recorded = usage::record(&mut tx, &events).await.unwrap();

    assert_eq!(
        recorded,
        Recorded {
            new: 2,
            repeated: 0
        }
    );
}

#[tokio::test]
async fn late_usage_joins_the_open_month_marked_with_its_own() {
    let world = World::new().await;
    let customer = world.customer().await;
    let mut tx = world.begin().await;
    usage::record(&mut tx, &[usage(customer, "a", "2024-09-01")])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.close("2024-09-01").await;

    let mut tx = world.begin().await;
    let late = ["b", "c"].map(|id| usage(customer, id, "2024-09-01"));
    usage::record(&mut tx, &late).await.unwrap();
    usage::record(&mut tx, &[usage(customer, "d", "2024-10-01")])
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let sums = [
        "(0,2024-09-01,2,0,1)",
        "(1,2024-09-01,4,0,2)",
        "(1,2024-10-01,2,0,1)",
    ];
    assert_eq!(world.rows(SUMS).await, sums);
}

#[tokio::test]
async fn a_changed_body_is_a_conflict() {
    let world = World::new().await;
    let customer = world.customer().await;
    let event = usage(customer, "a", "2024-09-01");
    let mut changed = event.clone();
    changed.quantity = Decimal::TEN;
    changed.body_hash[31] ^= 1;

    let mut tx = world.begin().await;
    let in_one_batch = usage::record(&mut tx, &[event.clone(), changed.clone()]).await;
    tx.rollback().await.unwrap();
    let mut tx = world.begin().await;
    usage::record(&mut tx, &[event]).await.unwrap();
    let later = usage::record(&mut tx, &[changed]).await;

    for refused in [in_one_batch, later] {
        assert!(matches!(refused, Err(UsageError::Conflict { event_id, .. }) if event_id == "a"));
    }
}

#[tokio::test]
async fn of_two_recorders_at_once_one_finds_the_events_of_the_other() {
    let world = World::new().await;
    let customer = world.customer().await;
    let events = ["a", "b", "c"].map(|id| usage(customer, id, "2024-09-01"));
    let mut tx = world.begin().await;
    usage::record(&mut tx, &events[..1]).await.unwrap();
    tx.commit().await.unwrap();
    let (mut first, mut second) = (world.begin().await, world.begin().await);

    usage::record(&mut first, &events[..2]).await.unwrap();
    let commit = async {
        world.somebody_waits().await;
        first.commit().await.unwrap();
    };
    let (recorded, ()) = tokio::join!(usage::record(&mut second, &events), commit);
    second.commit().await.unwrap();

    assert_eq!(
        recorded.unwrap(),
        Recorded {
            new: 1,
            repeated: 2
        }
    );
    assert_eq!(world.rows(SUMS).await, ["(0,2024-09-01,6,0,3)"]);
}

#[tokio::test]
async fn the_digest_of_a_sum_is_that_of_its_events() {
    let world = World::new().await;
    let customer = world.customer().await;
    for ids in [["a", "b"], ["c", "d"]] {
        let mut tx = world.begin().await;
        let events = ids.map(|id| usage(customer, id, "2024-09-01"));
        usage::record(&mut tx, &events).await.unwrap();
        tx.commit().await.unwrap();
    }

    let digests = "select digest = 0 as is_zero, digest = (
            select bit_xor(('x' || encode(substr(body_hash, 1, 8), 'hex'))::bit(64)::bigint)
            from billing.usage_event
        ) as agrees from billing.usage_sum";
    assert_eq!(world.rows(digests).await, ["(f,t)"]);
}

#[tokio::test]
async fn a_figure_that_the_table_would_round_is_refused() {
    let world = World::new().await;
    let mut event = usage(world.customer().await, "a", "2024-09-01");
    event.quantity = "0.0000000000005".parse().unwrap();
    let mut tx = world.begin().await;

    let refused = usage::record(&mut tx, &[event]).await;

    assert!(matches!(refused, Err(UsageError::Figure(id, _)) if id == "a"));
    // The control: what Postgres makes of it.
    let rounded = world.rows("select 0.0000000000005::numeric(28, 12)").await;
    assert_eq!(rounded, ["(0.000000000001)"]);
}

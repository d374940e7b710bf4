//! Each committed transaction falls in exactly one tick, whatever its ids are.

use std::collections::HashSet;

use sqlx::Connection;

use crate::log;
use crate::scene::{Scene, keys};

/// A snapshot's xmax is one past the highest transaction that had *ended*. A transaction at or above
/// it may have drawn its ids before the tick, so xmax bounds nothing.
///
/// Neighbours on the same server end transactions too and can hide the case: hence many rounds.
#[tokio::test]
async fn the_highest_transaction_of_all_is_not_lost_below_the_floor() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let mut committed = HashSet::new();

    for _ in 0..30 {
        committed.insert(scene.order(key).await);
        let mut open = scene.connection().await;
        let mut tx = open.begin().await.unwrap();
        let late = log::append(&mut tx, key).await;
        scene.publish().await;
        committed.insert(scene.order(key).await);
        scene.publish().await;
        tx.commit().await.unwrap();
        committed.insert(late);
        scene.publish().await;
    }

    let read: HashSet<_> = log::ids(&scene.pool, 1).await.into_iter().collect();
    assert_eq!(committed.difference(&read).count(), 0);
}

//! Unique events: of all that are appended for a key within a window, the first.

use std::collections::HashSet;
use std::time::Duration;

use futures::future::join_all;
use outbox::unique::{Unique, Uniquely};
use outbox::{Origin, Outbox};
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, keys, placed};

const EVENTS: &str = "select count(*) from outbox.event";
const ROWS: &str = "select count(*) from outbox.unique_event";
const LET_TIME_PASS: &str = "update outbox.unique_event set until = until - interval '1 hour'";

fn once_an_hour(key: Uuid) -> Unique {
    Unique {
        scope: "order.placed".to_owned(),
        key,
        window: Duration::from_secs(3_500),
    }
}

async fn append(outbox: &Outbox, unique: &Unique) -> Uniquely {
    let mut tx = outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(unique.key);
    let came = tx.append_unique(locked, placed(), unique).await.unwrap();
    tx.commit().await.unwrap();
    came
}

#[tokio::test]
async fn within_a_window_the_first_is_appended_and_the_others_are_told_whose() {
    let scene = Scene::new().await;
    let unique = once_an_hour(keys(1)[0]);

    let Uniquely::Applied(first) = append(&scene.outbox, &unique).await else {
        panic!("nothing was there");
    };
    let again = append(&scene.outbox, &unique).await;
    assert_eq!(again, Uniquely::AlreadyThere(first));
    let other = append(&scene.outbox, &once_an_hour(keys(1)[0])).await;
    assert!(matches!(other, Uniquely::Applied(_)));
    assert_eq!(scene.count(EVENTS).await, 2);

    scene.sql(LET_TIME_PASS).await;
    let later = append(&scene.outbox, &unique).await;
    assert!(matches!(later, Uniquely::Applied(event) if event != first));
}

#[tokio::test]
async fn of_those_who_race_one_appends_and_all_others_name_its_event() {
    let scene = Scene::new().await;
    let unique = once_an_hour(keys(1)[0]);
    let outbox = scene.as_seen_by("racers", 8).await;

    let all = join_all((0..16).map(|_| append(&outbox, &unique))).await;

    let applied: Vec<_> = all
        .iter()
        .filter(|came| matches!(came, Uniquely::Applied(_)))
        .collect();
    let named: HashSet<_> = all
        .iter()
        .map(|came| match came {
            Uniquely::Applied(event) | Uniquely::AlreadyThere(event) => event,
        })
        .collect();
    assert_eq!((applied.len(), named.len()), (1, 1));
    assert_eq!(scene.count(EVENTS).await, 1);
}

/// The negative control: who looks and then appends finds nothing in a race.
#[tokio::test]
async fn of_those_who_look_before_they_append_both_do() {
    let scene = Scene::new().await;
    let key = keys(1)[0];
    let mut both = Vec::new();
    for _ in 0..2 {
        let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
        let known: i64 = sqlx::query_scalar("select count(*) from outbox.event where key = $1")
            .bind(key)
            .fetch_one(&mut *tx)
            .await
            .unwrap();
        if known == 0 {
            let locked = tx.locked(key);
            tx.append(locked, placed());
        }
        both.push(tx);
    }
    for tx in both {
        tx.commit().await.unwrap();
    }

    assert_eq!(scene.count(EVENTS).await, 2);
}

#[tokio::test]
async fn what_was_rolled_back_was_not_the_first() {
    let scene = Scene::new().await;
    let unique = once_an_hour(keys(1)[0]);
    let mut tx = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(unique.key);
    tx.append_unique(locked, placed(), &unique).await.unwrap();
    let outbox = scene.outbox.clone();
    let waits = {
        let unique = unique.clone();
        tokio::spawn(async move { append(&outbox, &unique).await })
    };
    let waiting = "select count(*) from shop.session where wait_event_type = 'Lock'";
    scene.until_count(waiting, 1).await;

    tx.rollback().await.unwrap();

    assert!(matches!(waits.await.unwrap(), Uniquely::Applied(_)));
    assert_eq!(scene.count(EVENTS).await, 1);
}

#[tokio::test]
async fn a_relay_removes_what_is_over() {
    let scene = Scene::new().await;
    append(&scene.outbox, &once_an_hour(keys(1)[0])).await;
    scene.sql(LET_TIME_PASS).await;
    append(&scene.outbox, &once_an_hour(keys(1)[0])).await;

    let _relay = Host::relay(&scene, "relay").await;

    scene.until_count(ROWS, 1).await;
}

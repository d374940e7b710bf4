//! Promise: several closes and several relays at once are one close: one result, nothing twice.

use serde_json::{Value, json};

use crate::scene::{CONSUMERS, Charge, Ended, Reckoning, Scene, THE_END};

const ACCOUNTS: i64 = 600;

fn usage(scene: &Scene) -> String {
    let charge = |n: i64| {
        let price = [("vm", "0.125"), ("disk", "0.0007")][usize::from(n % 2 == 0)];
        Charge::new((n, "2024-09"), n % ACCOUNTS, price, n % 13)
    };
    scene.usage(
        "usage.csv",
        &(0..3 * ACCOUNTS).map(charge).collect::<Vec<_>>(),
    )
}

fn month_of(printed: &Value) -> [&Value; 5] {
    ["period", "accounts", "invoices", "lines", "invoiced"].map(|figure| &printed[figure])
}

#[tokio::test]
async fn three_closes_and_two_relays_at_once_come_to_one_result() {
    let scene = Scene::open().await;
    let usage = usage(&scene);
    let relays = [scene.relay("").start(), scene.relay("").start()];
    let close = format!("--usage {usage} --chunk 20");

    let closes = tokio::join!(
        scene.close(&close),
        scene.close(&close),
        scene.close(&close)
    );

    let (first, second, third) = &closes;
    assert_eq!(month_of(first), month_of(second));
    assert_eq!(month_of(first), month_of(third));
    let reckoned = Reckoning::of(&usage);
    assert_eq!(first["accounts"], ACCOUNTS);
    assert_eq!(first["lines"], reckoned.lines());
    assert_eq!(
        first["invoiced"],
        json!({ "USD": reckoned.total().to_string() })
    );
    expect_once(&scene).await;
    for relay in relays {
        relay.stop().await.exits(0);
    }
    scene.month_close("check").run().await.exits(0);
}

/// However many had a hand in it.
async fn expect_once(scene: &Scene) {
    for (count, expected) in [
        ("select count(*) from billing.usage_event", 3 * ACCOUNTS),
        ("select count(*) from billing.invoice", ACCOUNTS),
        ("select max(number) from billing.invoice", ACCOUNTS),
        (
            "select sum(invoices) from billing.collection_figure",
            ACCOUNTS,
        ),
        (
            "select count(*) from billing.document where state = 'written'",
            ACCOUNTS,
        ),
        (
            "select count(*) from outbox.event where topic = 'month_close.started'",
            1,
        ),
        (
            "select count(*) from outbox.event where topic = 'month_close.completed'",
            1,
        ),
        (
            "select count(*) from outbox.event where topic = 'account.created'",
            ACCOUNTS,
        ),
        ("select count(*) from outbox.delivery", 0),
    ] {
        assert_eq!(scene.count(count).await, expected, "{count}");
    }
    assert_eq!(scene.handled().await, CONSUMERS * ACCOUNTS + THE_END);
    assert_eq!(scene.documents().len(), usize::try_from(ACCOUNTS).unwrap());
}

/// A close that comes to a period as if nobody had billed it.
async fn close_again(scene: &Scene) -> Ended {
    scene
        .sql("update billing.period set state = 'open', run_id = null where month = '2024-09-01'")
        .await;
    scene.month_close("--period 2024-09").run().await
}

#[tokio::test]
async fn a_period_that_is_billed_is_not_billed_again_whatever_its_row_says() {
    let scene = Scene::open().await;
    let charge = Charge::new((1, "2024-09"), "acme", ("vm", "1"), 2);
    let usage = scene.usage("usage.csv", &[charge]);
    scene.close(&format!("--usage {usage}")).await;
    let invoices = "select count(*) from billing.invoice";

    close_again(&scene)
        .await
        .exits(1)
        .says(&["1 account could not be billed", "VIOLATED"]);
    assert_eq!(scene.count(invoices).await, 1);

    // The control: without the index that refused it, nothing else stands in its way.
    scene
        .sql("drop index billing.invoice_once_per_period")
        .await;
    close_again(&scene).await.exits(1).says(&["VIOLATED"]);
    assert_eq!(scene.count(invoices).await, 2);
}

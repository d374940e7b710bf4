//! Promise: an account whose data is bad is listed with its reason and stops nobody else; mended,
//! it is billed by the next run.

use serde_json::json;

use crate::scene::{Charge, Scene};

/// Two months of three accounts; one of them uses a price that nobody else uses. August is closed.
async fn after_august(scene: &Scene) {
    let vm = ("vm", "0.5");
    let charges = [
        Charge::new((1, "2024-08"), "one", vm, 2),
        Charge::new((2, "2024-09"), "one", vm, 4),
        Charge::new((3, "2024-09"), "two", vm, 6),
        Charge::new((4, "2024-09"), "bad", ("special", "3"), 1),
    ];
    let august = scene
        .close(&format!("--usage {}", scene.usage("usage.csv", &charges)))
        .await;
    assert_eq!(august["period"], "2024-08");
}

/// Somebody has changed a price's currency by hand.
const SPOILED: &str = "update billing.price set currency = 'EUR' where code = 'special'";
const MENDED: &str = "update billing.price set currency = 'USD' where code = 'special'";

#[tokio::test]
async fn an_account_with_bad_data_is_listed_and_its_neighbours_are_billed() {
    let scene = Scene::open().await;
    after_august(&scene).await;
    scene.sql(SPOILED).await;

    let closed = scene.month_close("--json").run().await.exits(3);

    let printed = closed.json();
    assert_eq!(
        (&printed["period"], &printed["exceptions"]),
        (&json!("2024-09"), &json!(1))
    );
    assert_eq!(printed["invoiced"], json!({ "USD": "5.00" }));
    assert_eq!(printed["checks"]["violated"], 0);
    closed.says(&[
        "September 2024 is closed",
        "1 account could not be billed: see the report",
    ]);
    let report = scene.report("2024-09");
    let listed: Vec<_> = report
        .iter()
        .filter(|row| row.state == "exception")
        .collect();
    let [bad] = listed[..] else {
        panic!("{report:?}")
    };
    assert_eq!((&*bad.account, &*bad.number, &*bad.total), ("bad", "", ""));
    assert!(bad.exception.contains("price special is in EUR"), "{bad:?}");
    assert_eq!(report.len(), 3);
}

#[tokio::test]
async fn a_mended_account_is_billed_by_the_next_run_and_an_unmended_one_is_listed_again() {
    let scene = Scene::open().await;
    after_august(&scene).await;
    scene.sql(SPOILED).await;
    for _ in 0..2 {
        let unmended = scene.month_close("--json").run().await.exits(3).json();
        assert_eq!(unmended["invoices"]["final"], 2);
    }

    scene.sql(MENDED).await;
    let mended = scene.close("").await;

    assert_eq!(
        (&mended["period"], &mended["exceptions"]),
        (&json!("2024-09"), &json!(0))
    );
    assert_eq!(mended["invoiced"], json!({ "USD": "8.00" }));
    let report = scene.report("2024-09");
    assert!(
        report.iter().all(|row| row.exception.is_empty()),
        "{report:?}"
    );
    let numbers = "select count(*) from billing.invoice having count(*) = max(number)";
    assert_eq!(scene.count(numbers).await, 4);
}

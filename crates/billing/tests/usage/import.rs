//! Whole files: the sample, twice, side by side, and undone.

use billing::account;
use billing::import::{ImportOptions, LISTED_MAX, OnBadRow, Progress, focus};
use outbox::Origin;
use tempfile::NamedTempFile;

use super::world::{World, day, file, header, new_account, now, price, row, sample};

const EVENTS: u64 = 696;

#[tokio::test]
async fn the_sample_is_696_events_of_66_accounts() {
    let world = World::new().await;

    let summary = world.import(&sample(), OnBadRow::Stop).await.unwrap();

    assert_eq!(
        (summary.rows, summary.new, summary.repeated),
        (EVENTS, EVENTS, 0)
    );
    assert_eq!((summary.accounts, summary.skipped), (66, 0));
    assert_eq!(Vec::from_iter(summary.months), [day("2024-09-01")]);
    assert_eq!(world.count("billing.account").await, 66);
    assert_eq!(world.count("billing.usage_event").await, 696);
    assert_eq!(world.count("billing.price").await, 217);
    assert_eq!(world.count("billing.usage_sum").await, 373);
}

/// The figures were computed from the file by other means, with sixty digits.
#[tokio::test]
async fn the_sample_is_summed_exactly() {
    let world = World::new().await;

    world.import(&sample(), OnBadRow::Stop).await.unwrap();

    let totals = "select
            sum(quantity * coalesce(unit_price, 0) + amount) = 10.0409220869051305 as total,
            sum(amount) = -2.533649726 as passed_through,
            sum(events) filter (where model = 'per_unit') as rated
        from billing.usage_sum join billing.price using (price_id)";
    assert_eq!(world.rows(totals).await, ["(t,t,669)"]);
}

#[tokio::test]
async fn the_same_file_twice_changes_nothing() {
    let world = World::new().await;
    world.import(&sample(), OnBadRow::Stop).await.unwrap();
    let before = world.figures().await;

    let summary = world.import(&sample(), OnBadRow::Stop).await.unwrap();

    assert_eq!((summary.new, summary.repeated), (0, EVENTS));
    assert_eq!(world.figures().await, before);
}

#[tokio::test]
async fn a_file_that_is_repeated_after_its_month_was_closed_opens_no_period() {
    let world = World::new().await;
    world.import(&sample(), OnBadRow::Stop).await.unwrap();
    world.close("2024-09-01").await;
    let before = world.figures().await;

    world.import(&sample(), OnBadRow::Stop).await.unwrap();

    assert_eq!(world.figures().await, before);
}

#[tokio::test]
async fn two_imports_at_once_record_each_row_once() {
    let (world, alone) = (World::new().await, World::new().await);
    let path = sample();

    let (one, two) = tokio::join!(
        world.import(&path, OnBadRow::Stop),
        world.import(&path, OnBadRow::Stop),
    );
    alone.import(&path, OnBadRow::Stop).await.unwrap();

    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.new + two.new, EVENTS);
    assert_eq!(one.repeated + two.repeated, EVENTS);
    assert_eq!(world.figures().await, alone.figures().await);
}

/// The rival waits last, so it is the import that Postgres ends to break the circle.
#[tokio::test]
async fn a_chunk_that_was_ended_for_a_deadlock_is_tried_again() {
    let world = World::new().await;
    let usage = file(&["Id=1"]);
    let mut rival = world.begin().await;
    price(&mut rival).await;

    let close_the_circle = async {
        world.somebody_waits().await;
        let wanted = [new_account("acme")];
        account::create_all(&mut rival, &wanted, now())
            .await
            .unwrap();
        rival.commit().await.unwrap();
    };
    let import = world.import(usage.path(), OnBadRow::Stop);
    let (summary, ()) = tokio::join!(import, close_the_circle);

    assert_eq!(summary.unwrap().new, 1);
    assert_eq!(world.count("billing.account").await, 1);
}

#[tokio::test]
async fn each_account_and_price_is_announced() {
    let world = World::new().await;

    world.import(&sample(), OnBadRow::Stop).await.unwrap();

    let unannounced = "billing.account left join outbox.event
        on event_id = announced_by and key = account_id and topic = 'account.created'
            and payload ->> 'external_id' = external_id and payload ->> 'zone' = zone
            and lane = 1 and actor = 'tester'
        where event_id is null";
    assert_eq!(world.count(unannounced).await, 0);
    assert_eq!(
        world
            .count("outbox.event where topic = 'account.created'")
            .await,
        66
    );
    let unannounced = "billing.price left join outbox.event
        on event_id = announced_by and key = price_id and topic = 'price.created'
            and payload ->> 'code' = code
            and (payload ->> 'unit_price')::numeric is not distinct from unit_price
        where event_id is null";
    assert_eq!(world.count(unannounced).await, 0);
}

#[tokio::test]
async fn an_import_within_a_transaction_can_be_undone() {
    let world = World::new().await;
    let nothing = world.figures().await;
    let options = ImportOptions {
        on_bad_row: OnBadRow::Stop,
        now: now(),
    };

    let mut tx = world.begin().await;
    let summary = focus::import_file_within(&mut tx, &sample(), options, |_| ())
        .await
        .unwrap();
    tx.rollback().await.unwrap();

    assert_eq!(summary.new, EVENTS);
    assert_eq!(world.figures().await, nothing);
}

#[tokio::test]
async fn a_file_of_many_chunks_is_recorded_whole_and_its_progress_told() {
    let world = World::new().await;
    let lines: Vec<String> = (0..2_345).map(|id| format!("Id={id}")).collect();
    let many = file(&lines.iter().map(String::as_str).collect::<Vec<_>>());
    let options = ImportOptions {
        on_bad_row: OnBadRow::Stop,
        now: now(),
    };
    let mut told: Vec<Progress> = Vec::new();
    let tell = |at| told.push(at);

    let origin = Origin::of("tester");
    focus::import_file(&world.outbox, origin, many.path(), options, tell)
        .await
        .unwrap();

    assert_eq!(
        told.iter().map(|at| at.rows).collect::<Vec<_>>(),
        [1_000, 2_000, 2_345]
    );
    assert!(told.is_sorted_by_key(|at| at.bytes));
    assert_eq!(told[2].bytes, told[2].bytes_total);
    let sums = "select period_seq, quantity, amount, events from billing.usage_sum";
    assert_eq!(
        world.rows(sums).await,
        ["(0,4690.000000000000,0.000000000000,2345)"]
    );
}

#[tokio::test]
async fn skipped_rows_are_all_counted_and_the_first_are_listed() {
    let world = World::new().await;
    let lines: Vec<String> = (0..1_500)
        .map(|id| format!("Id={id} BilledCost={}", if id == 7 { "1" } else { "x" }))
        .collect();
    let bad = file(&lines.iter().map(String::as_str).collect::<Vec<_>>());

    let summary = world.import(bad.path(), OnBadRow::Skip).await.unwrap();

    assert_eq!(
        (summary.rows, summary.new, summary.skipped),
        (1_500, 1, 1_499)
    );
    assert_eq!(summary.bad_rows.len(), LISTED_MAX);
    assert_eq!(summary.bad_rows[0].line, 2);
}

#[tokio::test]
async fn blank_lines_carriage_returns_and_a_mark_at_the_start_do_no_harm() {
    let world = World::new().await;
    let plain = file(&["Id=1 PricingQuantity=2e0", "Id=2", "Id=3 BilledCost=abc"]);
    let text = std::fs::read_to_string(plain.path()).unwrap();
    let crlf = text.replace('\n', "\r\n").replacen("acme", "\"acme\"", 1);
    std::fs::write(plain.path(), format!("\u{feff}{crlf}\r\n")).unwrap();

    let summary = world.import(plain.path(), OnBadRow::Skip).await.unwrap();

    assert_eq!((summary.new, summary.skipped), (2, 1));
    let problem = r#"line 4, column BilledCost: "abc" is not a number"#;
    assert_eq!(summary.bad_rows[0].to_string(), problem);
}

#[tokio::test]
async fn a_line_is_counted_where_its_row_begins() {
    let world = World::new().await;
    let two_lines = row("Id=1").replacen(",,", ",\"two\nlines\",", 1);
    let bad = row("Id=2 BilledCost=x");

    // The last row ends with the file, with a line feed and with two.
    for end in ["", "\n", "\n\r\n"] {
        let text = format!("{}\n{two_lines}\n\n{bad}\n\r\n{bad}{end}", header());
        let file = NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();

        let summary = world.import(file.path(), OnBadRow::Skip).await.unwrap();

        let lines: Vec<u64> = summary.bad_rows.iter().map(|bad| bad.line).collect();
        assert_eq!((summary.rows, lines), (3, vec![5, 7]), "{end:?}");
    }
}

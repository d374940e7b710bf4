//! The collection report agrees with the invoices.

use billing::money::{Currency, Money};
use billing::report::{self, Fact, Figures};

use crate::world::{World, origin, september};

#[tokio::test]
async fn the_sample_months_figures_are_those_of_its_invoices() {
    let world = World::closed().await;

    world.deliver_everything().await;

    let figures = report::of_month(world.outbox.pool(), september())
        .await
        .unwrap();
    let [
        Figures {
            invoices,
            zero,
            paid,
            open,
            lines,
            invoiced,
            credit,
            collected,
        },
    ] = figures[..]
    else {
        panic!("one currency: {figures:?}");
    };
    assert_eq!((invoices, zero, paid, open, lines), (66, 27, 27, 39, 373));
    assert_eq!(invoiced.to_string(), "10.07 USD");
    assert!(credit.is_zero() && collected.is_zero(), "nobody has a card");
}

#[tokio::test]
async fn the_sheet_lists_every_invoice_and_exception() {
    let world = World::closed().await;
    let except =
        "insert into billing.close_exception (account_id, period_seq, month, run_id, reason)
        select account_id, period_seq, month, run_id, 'an amount has 40 digits'
        from billing.invoice where number = 1";
    sqlx::query(except)
        .execute(world.outbox.pool())
        .await
        .unwrap();
    let target = world.folder.path().join("2024-09.csv");

    let entries = report::invoices(world.outbox.pool(), september());
    let count = report::write_csv(entries, &target).await.unwrap();

    assert_eq!(count, 67);
    let sheet = std::fs::read_to_string(&target).unwrap();
    let rows: Vec<&str> = sheet.split("\r\n").filter(|row| !row.is_empty()).collect();
    assert!(rows[1].starts_with("INV-000001,"));
    assert!(rows[66].starts_with("INV-000066,"));
    assert!(rows[67].ends_with(",USD,,,,exception,,,,an amount has 40 digits"));
}

/// The control: counted outside the transaction of its position, an invoice counts twice.
#[tokio::test]
async fn a_batch_that_is_counted_again_is_counted_twice() {
    let world = World::closed().await;
    let total = Money::new(100, Currency::parse("USD").unwrap());
    let one = Fact::Finalized(report::Finalized {
        month: september(),
        total,
        credit: Money::zero(total.currency()),
        lines: 1,
        is_paid: false,
    });

    for _ in 0..2 {
        let mut tx = world.outbox.begin(origin()).await.unwrap();
        report::count(&mut tx, &[(one, 3)]).await.unwrap();
        tx.commit().await.unwrap();
    }

    let figures = report::of_month(world.outbox.pool(), september())
        .await
        .unwrap();
    assert_eq!(figures[0].invoices, 2);
}

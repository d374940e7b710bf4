//! Which period usage joins, also when others create and close periods at the same time.

use billing::ids::{AccountId, PriceId};
use billing::period::{self, PeriodError};
use billing::usage;
use rust_decimal::Decimal;

use super::world::{PATIENCE, World, close_within, day, usage as usage_of, wanted};

#[tokio::test]
async fn months_are_created_as_they_are_used_and_tile() {
    let world = World::new().await;
    let (account, _) = world.customer().await;

    let mut tx = world.begin().await;
    let joined =
        period::ensure_open(&mut tx, &wanted(account, &["2024-09-01", "2024-11-01"])).await;
    tx.commit().await.unwrap();

    let seqs: Vec<i32> = joined.unwrap().into_values().collect();
    assert_eq!(seqs, [0, 2]);
    let periods =
        "select seq, month, start_at = coalesce(lag(end_at) over (order by seq), start_at)
        from billing.period order by seq";
    assert_eq!(
        world.rows(periods).await,
        ["(0,2024-09-01,t)", "(1,2024-10-01,t)", "(2,2024-11-01,t)"],
    );
}

#[tokio::test]
async fn usage_of_a_closed_month_joins_the_lowest_open_one() {
    let world = World::new().await;
    let (account, _) = world.customer().await;
    let joins = async |month: &str| {
        let mut tx = world.begin().await;
        let joined = period::ensure_open(&mut tx, &wanted(account, &[month]))
            .await
            .unwrap();
        tx.commit().await.unwrap();
        joined[&(account, day(month))]
    };
    joins("2024-09-01").await;

    world.close("2024-09-01").await;

    assert_eq!(
        joins("2024-09-01").await,
        1,
        "the month after the last is opened"
    );
    assert_eq!(
        joins("2024-03-01").await,
        1,
        "a month before the first joins it too"
    );
    assert_eq!(joins("2024-12-01").await, 3);
    assert_eq!(joins("2024-09-01").await, 1);
    world.close("2024-10-01").await;
    assert_eq!(joins("2024-09-01").await, 2);
    assert_eq!(joins("2024-10-01").await, 2);
    assert_eq!(world.count("billing.period").await, 4);
}

#[tokio::test]
async fn of_two_first_months_at_once_the_earlier_joins_the_later() {
    let world = World::new().await;
    let (account, _) = world.customer().await;
    let (september, august) = (
        wanted(account, &["2024-09-01"]),
        wanted(account, &["2024-08-01"]),
    );
    let (mut first, mut second) = (world.begin().await, world.begin().await);

    period::ensure_open(&mut first, &september).await.unwrap();
    let commit = async {
        world.somebody_waits().await;
        first.commit().await.unwrap();
    };
    let (joined, ()) = tokio::join!(period::ensure_open(&mut second, &august), commit);
    second.commit().await.unwrap();

    assert_eq!(Vec::from_iter(joined.unwrap().into_values()), [0]);
    assert_eq!(
        world.rows("select seq, month from billing.period").await,
        ["(0,2024-09-01)"]
    );
}

#[tokio::test]
async fn a_period_that_is_closed_while_usage_waits_for_it_is_not_joined() {
    let world = World::new().await;
    let (account, _) = world.customer().await;
    let september = wanted(account, &["2024-09-01"]);
    let mut tx = world.begin().await;
    period::ensure_open(&mut tx, &september).await.unwrap();
    tx.commit().await.unwrap();

    let mut close = world.db.pool.begin().await.unwrap();
    close_within(&mut close, "2024-09-01").await;
    let mut tx = world.begin().await;
    let commit = async {
        world.somebody_waits().await;
        close.commit().await.unwrap();
    };
    let (joined, ()) = tokio::join!(period::ensure_open(&mut tx, &september), commit);

    assert_eq!(Vec::from_iter(joined.unwrap().into_values()), [1]);
}

/// What a close begins with.
const LOCK: &str = "select from billing.account order by account_id for update";
const SUM: &str = "select quantity, events from billing.usage_sum";

/// A customer with usage in an open September.
async fn used() -> (World, (AccountId, PriceId)) {
    let world = World::new().await;
    let customer = world.customer().await;
    let mut tx = world.begin().await;
    usage::record(&mut tx, &[usage_of(customer, "a", "2024-09-01")])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    (world, customer)
}

async fn sum_seen_by(close: &mut sqlx::PgConnection) -> (Decimal, i64) {
    sqlx::query_as(SUM).fetch_one(close).await.unwrap()
}

#[tokio::test]
async fn a_close_waits_for_the_usage_that_is_being_added() {
    let (world, customer) = used().await;

    let mut tx = world.begin().await;
    usage::record(&mut tx, &[usage_of(customer, "b", "2024-09-01")])
        .await
        .unwrap();
    let commit = async {
        world.somebody_waits().await;
        tx.commit().await.unwrap();
    };
    let mut close = world.db.pool.begin().await.unwrap();
    let (locked, ()) = tokio::join!(sqlx::raw_sql(LOCK).execute(&mut *close), commit);

    locked.unwrap();
    assert_eq!(sum_seen_by(&mut close).await, (4.into(), 2));
}

#[tokio::test]
async fn a_sum_stands_still_while_its_account_is_closed() {
    let (world, customer) = used().await;
    let mut close = world.db.pool.begin().await.unwrap();
    sqlx::raw_sql(LOCK).execute(&mut *close).await.unwrap();
    let before = sum_seen_by(&mut close).await;

    let mut tx = world.begin().await;
    let late = [usage_of(customer, "b", "2024-09-01")];
    let close = async {
        world.somebody_waits().await;
        assert_eq!(sum_seen_by(&mut close).await, before);
        close_within(&mut close, "2024-09-01").await;
        close.commit().await.unwrap();
    };
    let (recorded, ()) = tokio::join!(usage::record(&mut tx, &late), close);
    recorded.unwrap();
    tx.commit().await.unwrap();

    let sums = "select period_seq, events from billing.usage_sum order by 1";
    assert_eq!(world.rows(sums).await, ["(0,1)", "(1,1)"]);
}

/// The control: a recorder that does not share the account's lock.
#[tokio::test]
async fn without_a_share_of_the_lock_a_sum_moves_under_the_close() {
    let (world, _) = used().await;
    let mut close = world.db.pool.begin().await.unwrap();
    sqlx::raw_sql(LOCK).execute(&mut *close).await.unwrap();
    let before = sum_seen_by(&mut close).await;

    sqlx::query("update billing.usage_sum set quantity = quantity + 2, events = events + 1")
        .execute(&world.db.pool)
        .await
        .unwrap();

    assert_ne!(sum_seen_by(&mut close).await, before);
}

#[tokio::test]
async fn recorders_of_one_account_do_not_wait_for_each_other() {
    let (world, (account, _)) = used().await;
    let (mut one, mut other) = (world.begin().await, world.begin().await);
    let september = wanted(account, &["2024-09-01"]);

    period::ensure_open(&mut one, &september).await.unwrap();
    let joined = tokio::time::timeout(PATIENCE, period::ensure_open(&mut other, &september)).await;

    assert_eq!(Vec::from_iter(joined.unwrap().unwrap().into_values()), [0]);
}

#[tokio::test]
async fn a_mistyped_year_creates_nothing() {
    let world = World::new().await;
    let (account, _) = world.customer().await;
    let mut tx = world.begin().await;

    let refused =
        period::ensure_open(&mut tx, &wanted(account, &["2024-09-01", "2124-09-01"])).await;
    assert!(matches!(refused, Err(PeriodError::TooFar { .. })));
    let refused = period::ensure_open(&mut tx, &wanted(account, &["0024-09-01"])).await;
    assert!(matches!(refused, Err(PeriodError::NotAMonth(_))));
    let stranger = AccountId::new();
    let refused = period::ensure_open(&mut tx, &wanted(stranger, &["2024-09-01"])).await;
    assert!(matches!(refused, Err(PeriodError::UnknownAccount(id)) if id == stranger));
    tx.commit().await.unwrap();

    assert_eq!(world.count("billing.period").await, 0);
}

//! Which period usage joins, also when others create and close periods at the same time.

use billing::ids::AccountId;
use billing::period::{self, PeriodError};
use billing::usage;

use super::world::{World, close_within, day, usage as usage_of, wanted};

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

#[tokio::test]
async fn a_close_waits_for_the_usage_that_is_being_added() {
    let world = World::new().await;
    let (account, _) = world.customer().await;
    let lock = "select 1 from billing.period for update nowait";
    let mut tx = world.begin().await;
    period::ensure_open(&mut tx, &wanted(account, &["2024-09-01"]))
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let mut tx = world.begin().await;
    period::ensure_open(&mut tx, &wanted(account, &["2024-09-01"]))
        .await
        .unwrap();
    let refused = sqlx::raw_sql(lock)
        .execute(&world.db.pool)
        .await
        .unwrap_err();
    tx.commit().await.unwrap();

    let code = refused
        .as_database_error()
        .unwrap()
        .code()
        .unwrap()
        .into_owned();
    assert_eq!(code, "55P03", "the lock is not available");
    sqlx::raw_sql(lock).execute(&world.db.pool).await.unwrap();
}

/// The account of each open period together with the period, as the month close takes them.
const LOCK_BOTH: &str = "select 1 from billing.account join billing.period using (account_id)
    for update of account, period";

#[tokio::test]
async fn a_close_and_usage_do_not_wait_for_each_other_in_a_circle() {
    let world = World::new().await;
    let customer = world.customer().await;
    let mut tx = world.begin().await;
    usage::record(&mut tx, &[usage_of(customer, "a", "2024-09-01")])
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let mut tx = world.begin().await;
    period::ensure_open(&mut tx, &wanted(customer.0, &["2024-09-01"]))
        .await
        .unwrap();
    let add = async {
        world.somebody_waits().await;
        usage::record(&mut tx, &[usage_of(customer, "b", "2024-09-01")])
            .await
            .unwrap();
        tx.commit().await.unwrap();
    };
    let (closed, ()) = tokio::join!(sqlx::raw_sql(LOCK_BOTH).execute(&world.db.pool), add);

    closed.unwrap();
}

/// The control: usage that took the period's lock alone, and the account's with its rows.
#[tokio::test]
async fn locks_in_another_order_are_a_deadlock() {
    let world = World::new().await;
    let (account, _) = world.customer().await;
    let mut tx = world.begin().await;
    period::ensure_open(&mut tx, &wanted(account, &["2024-09-01"]))
        .await
        .unwrap();
    tx.commit().await.unwrap();

    let mut tx = world.db.pool.begin().await.unwrap();
    sqlx::raw_sql("select 1 from billing.period for share")
        .execute(&mut *tx)
        .await
        .unwrap();
    let add = async {
        world.somebody_waits().await;
        let lock = sqlx::raw_sql("select 1 from billing.account for key share");
        let locked = lock.execute(&mut *tx).await;
        tx.rollback().await.unwrap();
        locked
    };
    let (closed, added) = tokio::join!(sqlx::raw_sql(LOCK_BOTH).execute(&world.db.pool), add);

    let refused = closed.err().or(added.err()).unwrap();
    assert_eq!(
        refused.as_database_error().unwrap().code().unwrap(),
        "40P01"
    );
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

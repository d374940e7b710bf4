//! What may be given back, and from which books it comes.

use billing::credit;
use billing::money::{Currency, Money};
use billing::refund::RefundError;
use futures::future::join_all;
use sqlx::AssertSqlSafe;
use tokio::sync::Barrier;
use uuid::Uuid;

use crate::till::{Till, wanted};
use crate::world::usd;

#[tokio::test]
async fn twenty_refunds_at_once_never_give_back_more_than_was_captured() {
    let (till, paid) = Till::open(1).await;
    let (_, payment) = paid[0].clone();

    let requests = (0..20).map(|_| till.request(wanted(payment, usd(90))));
    let (granted, refused): (Vec<_>, Vec<_>) = join_all(requests)
        .await
        .into_iter()
        .partition(Result::is_ok);

    assert_eq!(granted.len(), 11);
    for refused in refused {
        let Err(RefundError::AboveCaptured { left }) = refused else {
            panic!("{refused:?}");
        };
        assert!(left.minor() < 90, "{left}");
    }
    assert_eq!(till.violated().await, Vec::<&str>::new());
}

/// Control: two who count what is left without the account's lock, and then both take it.
#[tokio::test]
async fn without_the_lock_two_take_what_is_left() {
    let (till, paid) = Till::open(1).await;
    let payment = Uuid::from(paid[0].1);
    let unannounced = "drop trigger refund_requested on billing.refund";
    till.world.run(unannounced).await;
    let both_took = Barrier::new(2);

    let takes = (0..2).map(|_| async {
        let mut tx = till.world.pool().begin().await.unwrap();
        let sql = format!(
            "insert into billing.refund (refund_id, payment_id, account_id, currency, amount_minor,
                reason, state, created_at, requested_event)
            select gen_random_uuid(), payment_id, account_id, currency, 600, 'x', 'created', now(),
                gen_random_uuid()
            from billing.payment
            where payment_id = '{payment}' and captured_minor - 600 >= (
                select coalesce(sum(amount_minor), 0) from billing.refund
                where refund.payment_id = payment.payment_id)"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await
            .unwrap();
        both_took.wait().await;
        tx.commit().await.unwrap();
    });
    join_all(takes).await;

    // A1 and A4 see that nothing announced it, and that the trigger is gone which demands it.
    assert_eq!(till.violated().await, ["P5", "A1", "A4"]);
}

#[tokio::test]
async fn what_is_above_what_is_left_is_refused_and_a_declined_refund_frees_its_part() {
    let (till, paid) = Till::open(1).await;
    let (_, payment) = paid[0].clone();
    till.request(wanted(payment, usd(700))).await.unwrap();

    let above = till.request(wanted(payment, usd(301))).await;

    let Err(RefundError::AboveCaptured { left }) = above else {
        panic!("{above:?}");
    };
    assert_eq!(left, usd(300));
    till.world
        .run(
            "update billing.refund set state = 'declined', settled_at = now(), note = 'no'
            where state = 'created'",
        )
        .await;
    till.request(wanted(payment, usd(1_000))).await.unwrap();
}

#[tokio::test]
async fn nonsense_is_refused() {
    let (till, paid) = Till::open(1).await;
    let (_, payment) = paid[0].clone();
    let euros = Money::new(100, Currency::parse("EUR").unwrap());

    let nothing = till.request(wanted(payment, usd(0))).await;
    let foreign = till.request(wanted(payment, euros)).await;
    let strange = till
        .request(wanted(outbox::ids::new().into(), usd(1)))
        .await;

    assert!(
        matches!(nothing, Err(RefundError::Amount(_))),
        "{nothing:?}"
    );
    assert!(
        matches!(foreign, Err(RefundError::Currency { .. })),
        "{foreign:?}"
    );
    assert!(
        matches!(strange, Err(RefundError::NoPayment(_))),
        "{strange:?}"
    );
}

#[tokio::test]
async fn the_same_request_is_one_refund_and_other_words_are_refused() {
    let (till, paid) = Till::open(1).await;
    let new = wanted(paid[0].1, usd(600));

    let first = till.request(new.clone()).await.unwrap();
    let second = till.request(new.clone()).await.unwrap();
    let mut other = new;
    other.reason = "another".to_owned();
    let other = till.request(other).await;

    assert!(first.is_new && !second.is_new);
    assert_eq!(first.refund, second.refund);
    assert!(matches!(other, Err(RefundError::IdTaken(_))), "{other:?}");
}

#[tokio::test]
async fn money_that_came_by_hand_goes_back_by_hand_first_from_the_credit_that_it_left() {
    let (till, paid) = Till::open(1).await;
    let (customer, _) = &paid[0];
    till.world.pay_by_hand(customer, usd(500)).await;
    let sql = "select payment_id from billing.payment where kind = 'by_hand'";
    let payment: Uuid = till.world.ask(sql).await.parse().unwrap();
    till.world.grant(customer, usd(70)).await;

    for minor in [300, 200] {
        let requested = till.request(wanted(payment.into(), usd(minor))).await;
        assert_eq!(requested.unwrap().refund.state, "succeeded");
    }

    assert_eq!(till.moved().await, "bank=-500 customer_credit=500");
    assert_eq!(till.world.credit(customer).await, 70);
    let mut connection = till.world.pool().acquire().await.unwrap();
    let left = credit::balances(&mut connection, &[customer.account]).await;
    assert_eq!(left.unwrap()[&customer.account], usd(70));
    till.agree().await;
}

#[tokio::test]
async fn a_refund_never_leaves_its_end_and_never_changes_its_amount() {
    let (till, paid) = Till::open(1).await;
    till.request(wanted(paid[0].1, usd(600))).await.unwrap();
    let refused = async |sql: &'static str| {
        let tried = sqlx::raw_sql(sql).execute(till.world.pool()).await;
        tried.unwrap_err().to_string()
    };

    let amount = refused("update billing.refund set amount_minor = 1").await;
    let gone = refused("delete from billing.refund").await;
    till.handle("refund.requested").await;
    let back = refused("update billing.refund set state = 'sent', settled_at = null").await;
    let unsaid = refused("update billing.refund set note = 'never'").await;

    for error in [amount, gone, back, unsaid] {
        assert!(error.contains("a refund keeps what it is"), "{error}");
    }
}

//! Two that change one customer's money at the same time, in every order of their steps.

use std::sync::Arc;

use billing::credit::{self, NewCredit};
use billing::gateway::Webhook;
use billing::ids::{CreditId, PaymentId};
use billing::payment::{self, ByHand, Outcome};
use billing_workers::Call;
use billing_workers::gateways::SIM;
use outbox::Act;
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::hand::Hand;
use crate::sessions::{Body, acting, answering, interleavings, run};
use crate::world::{Customer, World, now, usd};

/// A customer whose card was charged, of which nothing is recorded yet.
struct Charged {
    customer: Customer,
    payment: PaymentId,
    outcome: Outcome,
}

async fn charged(hand: &Hand, customers: Vec<Customer>) -> Vec<Charged> {
    let mut charged = Vec::new();
    for event in hand.news().await {
        let call = hand.call(&event).await;
        let Call::Charge(attempt) = &call else {
            panic!("{call:?}");
        };
        let Act::Answer(Some(outcome)) = hand.act(&call).await else {
            panic!("no answer");
        };
        let customer = customers.iter().find(|one| one.invoice == attempt.invoice);
        charged.push(Charged {
            customer: customer.unwrap().clone(),
            payment: attempt.payment,
            outcome,
        });
    }
    charged
}

fn told(charged: &Charged) -> Body {
    let Outcome::Verdict(verdict) = charged.outcome.clone() else {
        panic!("no verdict");
    };
    let webhook = Webhook {
        id: format!("evt_{}", Uuid::from(charged.payment)),
        payment: Some(charged.payment),
        verdict: Some(verdict),
    };
    acting(move |tx| {
        Box::pin(async move {
            payment::receive(tx, (SIM, webhook), b"{}", now())
                .await
                .unwrap();
        })
    })
}

fn granted(customer: &Customer) -> Body {
    let new = NewCredit {
        credit: CreditId::new(),
        account: customer.account,
        money: usd(500),
        reason: "a good customer".to_owned(),
    };
    acting(move |tx| {
        Box::pin(async move {
            credit::grant(tx, new, now()).await.unwrap();
        })
    })
}

fn paid_by_hand(customer: &Customer) -> Body {
    let by_hand = ByHand {
        payment: PaymentId::new(),
        account: customer.account,
        invoice: Some(customer.invoice),
        money: customer.due,
        note: "bank statement 7".to_owned(),
    };
    acting(move |tx| {
        Box::pin(async move {
            payment::record(tx, by_hand, now()).await.unwrap();
        })
    })
}

fn decided(customer: &Customer, event: Uuid) -> Body {
    let wanted = [(customer.invoice, event)];
    acting(move |tx| {
        Box::pin(async move {
            payment::decide_all(tx, &wanted, now()).await.unwrap();
        })
    })
}

/// After each order: one capture, and as much credit as there must be.
async fn each_order(pair: impl Fn(&Charged) -> [Body; 2], credit: impl Fn(&Customer) -> i64) {
    let world = Arc::new(World::open().await);
    let orders = interleavings([2, 2]);
    assert_eq!(orders.len(), 6);
    let customers = world.billed(&vec!["tok_approve"; orders.len()]).await;
    let charged = charged(&Hand::of(&world), customers).await;
    let mut waited = 0;
    for (charged, order) in charged.iter().zip(&orders) {
        waited += usize::from(run(&world, pair(charged), order).await);

        let customer = &charged.customer;
        assert_eq!(world.attempts(customer).await, "succeeded", "{order:?}");
        assert_eq!(world.invoice_state(customer).await, "paid", "{order:?}");
        assert_eq!(world.credit(customer).await, credit(customer), "{order:?}");
    }
    // Wherever one acts before the other has committed.
    assert_eq!(waited, 4);
    world.agree().await;
}

#[tokio::test]
async fn an_answer_and_a_webhook_side_by_side_are_one_payment() {
    let pair = |charged: &Charged| {
        let answer = answering(charged.payment, charged.outcome.clone());
        [answer, told(charged)]
    };
    each_order(pair, |_| 0).await;
}

#[tokio::test]
async fn two_copies_of_a_webhook_side_by_side_are_one_payment() {
    each_order(|charged| [told(charged), told(charged)], |_| 0).await;
}

#[tokio::test]
async fn a_payment_and_a_credit_side_by_side_are_both_there() {
    let pair = |charged: &Charged| {
        let answer = answering(charged.payment, charged.outcome.clone());
        [answer, granted(&charged.customer)]
    };
    each_order(pair, |_| 500).await;
}

#[tokio::test]
async fn money_that_comes_twice_side_by_side_is_the_customers_credit() {
    let pair = |charged: &Charged| {
        let answer = answering(charged.payment, charged.outcome.clone());
        [answer, paid_by_hand(&charged.customer)]
    };
    each_order(pair, |customer| customer.due.minor()).await;
}

#[tokio::test]
async fn two_decisions_or_a_credit_side_by_side_come_to_one_charge_of_what_is_due() {
    for with_credit in [false, true] {
        let world = Arc::new(World::open().await);
        let orders = interleavings([2, 2]);
        let customers = world.billed(&vec!["tok_approve"; orders.len()]).await;
        let hand = Hand::of(&world);
        let news = hand.news().await;
        for (customer, order) in customers.iter().zip(&orders) {
            let account = Uuid::from(customer.account);
            let event = news.iter().find(|one| one.key == account).unwrap();
            let other = match with_credit {
                true => granted(customer),
                false => decided(customer, outbox::ids::new()),
            };
            let bodies = [decided(customer, event.event_id), other];
            run(&world, bodies, order).await;

            hand.handle(event).await;
            hand.drain().await;
        }
        if !with_credit {
            // Where the other came first, nobody has asked its event yet.
            let open = "billing.payment where state = 'created'";
            assert_eq!(world.count(open).await, 3);
            continue;
        }
        for (customer, order) in customers.iter().zip(&orders) {
            assert_eq!(world.invoice_state(customer).await, "paid", "{order:?}");
            assert_eq!(world.credit(customer).await, 0, "{order:?}");
        }
        assert_eq!(world.statement().await.len(), orders.len());
        world.agree().await;
    }
}

/// Control: whoever writes what he has read, without a lock.
#[tokio::test]
async fn two_that_read_before_either_writes_lose_one_of_two_payments() {
    let world = World::open().await;
    world.run("create table public.till (held int)").await;
    let mut lost = 0;
    for order in interleavings([3, 3]) {
        world
            .run("truncate public.till; insert into public.till values (0)")
            .await;
        run(&world, [naive(), naive()], &order).await;
        lost += usize::from(world.ask("select held from public.till").await != "2");
    }

    assert!(lost > 0);
}

fn naive() -> Body {
    Box::new(|mut tx, mut steps| {
        Box::pin(async move {
            steps.turn().await;
            let read = sqlx::query_scalar("select held from public.till");
            let held: i32 = read.fetch_one(&mut *tx).await.unwrap();
            steps.turn().await;
            let write = AssertSqlSafe(format!("update public.till set held = {}", held + 1));
            sqlx::query(write).execute(&mut *tx).await.unwrap();
            steps.turn().await;
            tx.commit().await.unwrap();
        })
    })
}

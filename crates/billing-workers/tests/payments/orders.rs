//! The answer, the webhook, the webhook again and the look-up tell of one charge, in any order.

use std::sync::Arc;

use billing::gateway::Gateway as _;
use billing::ids::PaymentId;
use billing::ledger::{self, Book, NewTransfer};
use billing::payment::{self, Outcome};
use billing_workers::Call;
use billing_workers::gateways::SIM;
use outbox::Act;

use crate::hand::Hand;
use crate::webhooks::{Came, Letterbox};
use crate::world::{Customer, SECRET, World, now};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Teller {
    Answer,
    Webhook,
    WebhookAgain,
    LookUp,
}

const TELLERS: [Teller; 4] = [
    Teller::Answer,
    Teller::Webhook,
    Teller::WebhookAgain,
    Teller::LookUp,
];

fn orders(of: &[Teller]) -> Vec<Vec<Teller>> {
    if of.is_empty() {
        return vec![Vec::new()];
    }
    let mut orders = Vec::new();
    for first in of {
        let rest: Vec<Teller> = of.iter().copied().filter(|one| one != first).collect();
        for mut order in self::orders(&rest) {
            order.insert(0, *first);
            orders.push(order);
        }
    }
    orders
}

/// A charge that was made, and of which nothing is recorded yet.
struct Made {
    customer: Customer,
    call: Call,
    payment: PaymentId,
    answer: Option<Outcome>,
    webhook: Came,
}

struct Scene {
    world: Arc<World>,
    hand: Arc<Hand>,
    letterbox: Letterbox,
}

impl Scene {
    async fn open() -> Self {
        let letterbox = Letterbox::open().await;
        let url = letterbox.url.clone();
        let announced = move |sim: gateway_sim::GatewaySim| sim.webhook(&url, SECRET);
        let world = World::with(announced, std::time::Duration::from_secs(10)).await;
        let world = Arc::new(world);
        let hand = Hand::of(&world);
        Self {
            world,
            hand,
            letterbox,
        }
    }

    /// Charges all customers of a token, and records nothing.
    async fn made(&self, tokens: &[&str]) -> Vec<Made> {
        let customers = self.world.billed(tokens).await;
        let news = self.hand.news().await;
        let mut made = Vec::new();
        for (n, event) in news.iter().enumerate() {
            let call = self.hand.call(event).await;
            let Call::Charge(attempt) = &call else {
                panic!("{call:?}");
            };
            let payment = attempt.payment;
            let Act::Answer(answer) = self.hand.act(&call).await else {
                panic!("no answer");
            };
            let customer = customers.iter().find(|one| one.invoice == attempt.invoice);
            let webhook = self.webhook_of(payment, n + 1).await;
            made.push(Made {
                customer: customer.unwrap().clone(),
                call,
                payment,
                answer,
                webhook,
            });
        }
        made
    }

    async fn webhook_of(&self, payment: PaymentId, count: usize) -> Came {
        let came = self.letterbox.wait_for(count).await;
        let house = &self.world.gate.house;
        let of = |came: &&Came| {
            let read = came.read_by(house).unwrap();
            read.payment == Some(payment)
        };
        came.iter().find(of).unwrap().clone()
    }

    async fn tell(&self, made: &Made, teller: Teller) {
        match teller {
            Teller::Answer => {
                let answer = made.answer.clone();
                self.hand.settle(made.call.clone(), answer).await;
            }
            Teller::Webhook | Teller::WebhookAgain => self.receive(&made.webhook).await,
            Teller::LookUp => {
                let found = self.world.gate.house.look_up(made.payment).await.unwrap();
                let told = Outcome::Verdict(found.unwrap());
                self.hand.settle(made.call.clone(), Some(told)).await;
            }
        }
    }

    async fn receive(&self, came: &Came) {
        let webhook = came.read_by(&self.world.gate.house);
        let mut tx = self.world.begin().await;
        payment::receive(&mut tx, (SIM, webhook.unwrap()), &came.body, now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn whoever_tells_first_and_whoever_tells_again_there_is_one_payment() {
    let scene = Scene::open().await;
    let orders = orders(&TELLERS);
    assert_eq!(orders.len(), 24);
    let mut tokens = vec!["tok_approve"; orders.len()];
    tokens.extend(vec!["tok_decline"; orders.len()]);

    let made = scene.made(&tokens).await;
    for (made, order) in made.iter().zip(orders.iter().cycle()) {
        for teller in order {
            scene.tell(made, *teller).await;
        }
        one_payment(&scene.world, made, order).await;
    }

    assert_eq!(scene.world.statement().await.len(), orders.len());
    scene.world.agree().await;
}

async fn one_payment(world: &World, made: &Made, order: &[Teller]) {
    let state = world.attempts(&made.customer).await;
    let (topic, invoice) = match state.as_str() {
        "succeeded" => ("payment.succeeded", "paid"),
        "declined" => ("payment.declined", "finalized"),
        other => panic!("{order:?}: {other}"),
    };
    assert_eq!(
        world.invoice_state(&made.customer).await,
        invoice,
        "{order:?}"
    );
    assert_eq!(world.credit(&made.customer).await, 0, "{order:?}");
    let id = uuid::Uuid::from(made.payment);
    let said =
        format!("outbox.event where topic = '{topic}' and payload ->> 'payment_id' = '{id}'");
    assert_eq!(world.count(&said).await, 1, "{order:?}");
}

/// Control: who books whatever he is told of.
#[tokio::test]
async fn four_tellers_that_are_all_booked_are_four_payments() {
    let scene = Scene::open().await;
    let made = scene.made(&["tok_approve"]).await.remove(0);
    let told = NewTransfer {
        source_kind: "payment",
        source_id: outbox::ids::new(),
        debit: Book::Cash,
        credit: Book::Receivable,
        account: Some(made.customer.account),
        money: made.customer.due,
    };
    let booked = TELLERS.map(|_| NewTransfer {
        source_id: outbox::ids::new(),
        ..told
    });

    let mut tx = scene.world.begin().await;
    ledger::post_all(&mut tx, &booked, now()).await.unwrap();
    let account = uuid::Uuid::from(made.customer.account);
    let naive = format!(
        "select -amount_minor from billing.balance
        where account_id = '{account}' and book = 'receivable'"
    );
    let overpaid: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(naive))
        .fetch_one(&mut *tx)
        .await
        .unwrap();
    tx.rollback().await.unwrap();

    assert_eq!(overpaid, made.customer.due.minor() * 3);
    assert_eq!(scene.world.statement().await.len(), 1);
}

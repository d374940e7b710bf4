//! A till: invoices that were paid, and the consumer of refunds led by hand.

use std::sync::Arc;

use billing::check::{self, Scope};
use billing::gateway::Gateways;
use billing::ids::{PaymentId, RefundId};
use billing::money::Money;
use billing::reconciliation::reconcile;
use billing::refund::{self, NewRefund, Outcome, RefundError, Requested};
use billing_workers::gateways::SIM;
use billing_workers::{RefundCall, Refunds};
use outbox::{Act, Event, External as _, Load, Recorded};
use sqlx::Row as _;
use uuid::Uuid;

use crate::hand::Hand;
use crate::silent::Silent;
use crate::world::{Customer, World, now};

pub(crate) struct Till {
    pub(crate) world: Arc<World>,
    pub(crate) silent: Arc<Silent>,
    refunds: Refunds,
}

pub(crate) fn wanted(payment: PaymentId, money: Money) -> NewRefund {
    NewRefund {
        refund: RefundId::new(),
        payment,
        money,
        reason: "the machine was down".to_owned(),
    }
}

impl Till {
    /// Customers who paid 10.00 and some cents by card.
    pub(crate) async fn open(customers: usize) -> (Self, Vec<(Customer, PaymentId)>) {
        let world = Arc::new(World::open().await);
        let customers = world.billed(&vec!["tok_approve"; customers]).await;
        Hand::of(&world).drain().await;
        let mut paid = Vec::new();
        for customer in customers {
            let invoice = Uuid::from(customer.invoice);
            let sql =
                format!("select payment_id from billing.payment where invoice_id = '{invoice}'");
            let payment: Uuid = world.ask(&sql).await.parse().unwrap();
            paid.push((customer, payment.into()));
        }
        let silent = Arc::new(Silent::new(world.gate.clone()));
        let refunds = Refunds::new(Gateways::default().with(SIM, silent.clone()));
        let till = Self {
            world,
            silent,
            refunds,
        };
        (till, paid)
    }

    pub(crate) async fn request(&self, new: NewRefund) -> Result<Requested, RefundError> {
        let mut tx = self.world.begin().await;
        let requested = refund::request(&mut tx, new, now()).await?;
        tx.commit().await.unwrap();
        Ok(requested)
    }

    /// The newest event of a topic.
    pub(crate) async fn newest(&self, topic: &str) -> Event {
        let row = sqlx::query(
            "select event_id, topic, schema_version, key, at, payload
            from outbox.event where topic = $1 order by id desc limit 1",
        );
        let row = row.bind(topic).fetch_one(self.world.pool()).await.unwrap();
        Recorded {
            event_id: row.get("event_id"),
            at: row.get("at"),
            ..Recorded::unlogged(
                row.get("topic"),
                row.get("schema_version"),
                row.get("key"),
                row.get("payload"),
            )
        }
        .into()
    }

    pub(crate) async fn load(&self, event: &Event) -> Load<RefundCall> {
        let mut tx = self.world.begin().await;
        let events = std::slice::from_ref(event);
        let mut loads = self.refunds.load(&mut tx, events).await.unwrap();
        tx.commit().await.unwrap();
        loads.remove(0)
    }

    pub(crate) async fn call(&self, event: &Event) -> RefundCall {
        match self.load(event).await {
            Load::Call(call) => call,
            other => panic!("no call: {other:?}"),
        }
    }

    pub(crate) async fn act(&self, call: &RefundCall) -> Outcome {
        match self.refunds.act(call).await {
            Act::Answer(outcome) => outcome,
            other => panic!("no answer: {other:?}"),
        }
    }

    pub(crate) async fn settle(&self, call: RefundCall, outcome: Outcome) {
        let mut tx = self.world.begin().await;
        let settled = self.refunds.settle(&mut tx, vec![(call, outcome)]).await;
        settled.unwrap();
        tx.commit().await.unwrap();
    }

    /// Handles the newest event of a topic, from load to settle.
    pub(crate) async fn handle(&self, topic: &str) {
        let call = self.call(&self.newest(topic).await).await;
        let outcome = self.act(&call).await;
        self.settle(call, outcome).await;
    }

    /// The states of all refunds, in the order of their requests.
    pub(crate) async fn states(&self) -> String {
        let sql = "select state from billing.refund order by created_at, refund_id";
        self.world.ask(sql).await
    }

    /// What a book was debited and credited for refunds: `book=minor`, below zero for a credit.
    pub(crate) async fn moved(&self) -> String {
        let sql = "select book || '=' || sum(minor) from (
                select debit as book, amount_minor as minor from billing.transfer
                where source_kind in ('refund', 'refund_credit')
                union all
                select credit, -amount_minor from billing.transfer
                where source_kind in ('refund', 'refund_credit')
            ) as moved group by book order by book";
        self.world.ask(sql).await
    }

    /// What the gateway gave back, in minor units.
    pub(crate) async fn given_back(&self) -> Vec<i64> {
        let statement = self.world.statement().await;
        let minor = statement.iter().map(|movement| movement.money.minor());
        minor
            .filter(|minor| *minor < 0)
            .map(|minor| -minor)
            .collect()
    }

    /// The statement is the cash account, and the books are whole.
    pub(crate) async fn agree(&self) {
        let pool = self.world.pool();
        let found = reconcile(pool, SIM, &self.world.gate.house).await.unwrap();
        let found = found.outcome(Scope::AtRest);
        assert!(found.holds(), "{found:#?}");
        assert_eq!(self.violated().await, Vec::<&str>::new());
    }

    pub(crate) async fn violated(&self) -> Vec<&'static str> {
        let checked = check::run(self.world.pool(), Scope::Always).await.unwrap();
        let violated = checked.iter().filter(|found| !found.holds());
        violated.map(|found| found.code).collect()
    }
}

//! A company with final invoices to collect, and the simulated gateway that knows its cards.

use std::sync::Arc;
use std::time::Duration;

use billing::account::{self, NewAccount};
use billing::check::{self, Scope};
use billing::credit::{self, NewCredit};
use billing::gateway::{Gateway as _, Gateways, Movement};
use billing::ids::{AccountId, CreditId, InvoiceId, PaymentId, PaymentMethodId, PriceId};
use billing::money::{Currency, Money};
use billing::month_close::{self, Options};
use billing::payment::{self, ByHand};
use billing::payment_method::{self, NewPaymentMethod};
use billing::price::{self, Model, NewPrice, PriceKey};
use billing::usage::{self, UsageEvent, UsageKey};
use billing_workers::gateways::{House, SIM, Secret};
use chrono::{DateTime, NaiveDate, Utc};
use gateway_sim::{GatewaySim, Running};
use outbox::{Origin, Outbox, UnitOfWork};
use sha2::{Digest as _, Sha256};
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use testkit::{TestDb, until};
use uuid::Uuid;

use crate::gate::Gate;

/// Long enough for a busy machine, short enough to be noticed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Longer than the simulator takes on a busy machine, far below its holds.
const TIMEOUT: Duration = Duration::from_secs(2);
pub(crate) const SECRET: &str = "whsec_test";

/// Who owes money.
#[derive(Debug, Clone)]
pub(crate) struct Customer {
    pub(crate) account: AccountId,
    pub(crate) invoice: InvoiceId,
    pub(crate) card: Option<PaymentMethodId>,
    pub(crate) due: Money,
}

pub(crate) struct World {
    pub(crate) outbox: Outbox,
    pub(crate) gate: Arc<Gate>,
    pub(crate) sim: Running,
    _folder: TempDir,
    _db: TestDb,
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::parse("USD").unwrap())
}

pub(crate) fn now() -> DateTime<Utc> {
    outbox::clock::now()
}

impl World {
    pub(crate) async fn open() -> Self {
        Self::with(|sim| sim, TIMEOUT).await
    }

    /// With another simulator, or less patience with it.
    pub(crate) async fn with(
        set: impl FnOnce(GatewaySim) -> GatewaySim,
        timeout: Duration,
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let sim = set(GatewaySim::at(folder.path())).start().await.unwrap();
        let house = House::of_simulator(sim.address()).timeout(timeout);
        Self::of((sim, folder), house).await
    }

    /// With a gateway that runs, and our idea of it.
    pub(crate) async fn of((sim, folder): (Running, TempDir), house: House) -> Self {
        let db = TestDb::billing().await.unwrap();
        let house = house.secret(Secret::new(SECRET));
        Self {
            outbox: Outbox::new(db.pool.clone()),
            gate: Arc::new(Gate::new(house)),
            sim,
            _folder: folder,
            _db: db,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.outbox.pool()
    }

    pub(crate) fn gateways(&self) -> Gateways {
        Gateways::default().with(SIM, self.gate.clone())
    }

    pub(crate) async fn begin(&self) -> UnitOfWork {
        let origin = Origin::of("Ada").because("a test");
        self.outbox.begin(origin).await.unwrap()
    }

    /// One customer for each token, with a final invoice of 10.00 and some cents.
    pub(crate) async fn billed(&self, tokens: &[&str]) -> Vec<Customer> {
        let cards: Vec<_> = tokens.iter().map(|token| (SIM, *token)).collect();
        self.billed_at(&cards).await
    }

    /// The same, for cards of several gateways.
    pub(crate) async fn billed_at(&self, cards: &[(&str, &str)]) -> Vec<Customer> {
        let price = self.price().await;
        let mut customers = Vec::new();
        for (n, (gateway, token)) in cards.iter().enumerate() {
            let due = usd(1_000 + i64::try_from(n).unwrap());
            let account = self.account(n).await;
            self.used((account, price), due).await;
            let card = self.add_card(account, gateway, token).await;
            customers.push((account, card, due));
        }
        let month = "2024-09-01".parse().unwrap();
        let options = Options::new(month, now(), now(), Origin::of("Ada"));
        let closing = month_close::run(&self.outbox, &options, &|_| ());
        closing.await.unwrap();
        let mut billed = Vec::new();
        for (account, card, due) in customers {
            let invoice = self.invoice_of(account).await;
            billed.push(Customer {
                account,
                invoice,
                card: Some(card),
                due,
            });
        }
        billed
    }

    pub(crate) async fn billed_one(&self, token: &str) -> Customer {
        self.billed(&[token]).await.remove(0)
    }

    async fn account(&self, n: usize) -> AccountId {
        let mut tx = self.begin().await;
        let wanted = NewAccount {
            external_id: format!("c{n:03}"),
            name: format!("Customer {n}"),
            currency: Currency::parse("USD").unwrap(),
            zone: account::parse_zone("Europe/Budapest").unwrap(),
        };
        let account = account::create(&mut tx, wanted, now()).await.unwrap();
        tx.commit().await.unwrap();
        account.account_id
    }

    async fn price(&self) -> PriceId {
        let unit_price = "0.01".parse().unwrap();
        let wanted = NewPrice {
            key: PriceKey {
                code: "vm".to_owned(),
                model: Model::PerUnit { unit_price },
                currency: Currency::parse("USD").unwrap(),
            },
            unit: "h".to_owned(),
            description: "Use of a machine".to_owned(),
        };
        let mut tx = self.begin().await;
        let prices = price::create_all(&mut tx, &[wanted], now()).await.unwrap();
        tx.commit().await.unwrap();
        prices[0].price_id
    }

    async fn used(&self, (account_id, price_id): (AccountId, PriceId), cost: Money) {
        let usage_month: NaiveDate = "2024-09-01".parse().unwrap();
        let event_id = account_id.to_string();
        let event = UsageEvent {
            body_hash: Sha256::digest(&event_id).into(),
            key: UsageKey {
                source: "meter".to_owned(),
                event_id,
            },
            account_id,
            price_id,
            usage_month,
            quantity: cost.minor().into(),
            amount: 0.into(),
            used_at: usage_month.and_hms_opt(12, 0, 0).unwrap().and_utc(),
        };
        let mut tx = self.begin().await;
        usage::record(&mut tx, &[event]).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn add_card(
        &self,
        account: AccountId,
        gateway: &str,
        token: &str,
    ) -> PaymentMethodId {
        let card = NewPaymentMethod {
            account,
            gateway: gateway.to_owned(),
            token: token.to_owned(),
            brand: "Visa".to_owned(),
            last_four: "4242".to_owned(),
        };
        let mut tx = self.begin().await;
        let added = payment_method::add(&mut tx, card, now()).await.unwrap();
        tx.commit().await.unwrap();
        added.payment_method_id
    }

    pub(crate) async fn remove_card(&self, customer: &Customer) {
        let mut tx = self.begin().await;
        payment_method::remove(&mut tx, customer.account, customer.card.unwrap(), now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn grant(&self, customer: &Customer, money: Money) {
        let new = NewCredit {
            credit: CreditId::new(),
            account: customer.account,
            money,
            reason: "a good customer".to_owned(),
        };
        let mut tx = self.begin().await;
        credit::grant(&mut tx, new, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn pay_by_hand(&self, customer: &Customer, money: Money) {
        let by_hand = ByHand {
            payment: PaymentId::new(),
            account: customer.account,
            invoice: Some(customer.invoice),
            money,
            note: "bank statement 7".to_owned(),
        };
        let mut tx = self.begin().await;
        payment::record(&mut tx, by_hand, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The first column of all rows, as text, each with a space between.
    pub(crate) async fn ask(&self, sql: &str) -> String {
        let sql = format!(
            "select coalesce(string_agg(answer::text, ' '), '') from ({sql}) as asked (answer)"
        );
        sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(self.pool())
            .await
            .unwrap()
    }

    /// Lets hours pass for all payments; when one was made is fixed otherwise.
    pub(crate) async fn pass(&self, hours: u32) {
        let mut tx = self.pool().begin().await.unwrap();
        let sql = format!(
            "alter table billing.payment disable trigger payment_fixed;
            update billing.payment
            set created_at = created_at - interval '{hours} hours',
                sent_at = sent_at - interval '{hours} hours',
                deadline = deadline - interval '{hours} hours'
            where kind = 'card';
            set constraints all immediate;
            alter table billing.payment enable trigger payment_fixed"
        );
        sqlx::raw_sql(AssertSqlSafe(sql))
            .execute(&mut *tx)
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn run(&self, sql: &str) {
        let sql = AssertSqlSafe(sql.to_owned());
        sqlx::raw_sql(sql).execute(self.pool()).await.unwrap();
    }

    pub(crate) async fn count(&self, what: &str) -> usize {
        let count = self.ask(&format!("select count(*) from {what}")).await;
        count.parse().unwrap()
    }

    async fn invoice_of(&self, account: AccountId) -> InvoiceId {
        let id = Uuid::from(account);
        let sql = format!("select invoice_id from billing.invoice where account_id = '{id}'");
        let invoice: Uuid = self.ask(&sql).await.parse().unwrap();
        invoice.into()
    }

    /// The states of a customer's attempts, in order.
    pub(crate) async fn attempts(&self, customer: &Customer) -> String {
        let id = Uuid::from(customer.invoice);
        self.ask(&format!(
            "select state from billing.payment
            where invoice_id = '{id}' and kind = 'card' order by attempt"
        ))
        .await
    }

    pub(crate) async fn invoice_state(&self, customer: &Customer) -> String {
        let id = Uuid::from(customer.invoice);
        self.ask(&format!(
            "select state from billing.invoice where invoice_id = '{id}'"
        ))
        .await
    }

    /// What the customer has in advance, in minor units.
    pub(crate) async fn credit(&self, customer: &Customer) -> i64 {
        let id = Uuid::from(customer.account);
        let sql = format!(
            "select coalesce(sum(amount_minor), 0) from billing.balance
            where account_id = '{id}' and book = 'customer_credit'"
        );
        self.ask(&sql).await.parse().unwrap()
    }

    /// Every movement on the gateway's statement.
    pub(crate) async fn statement(&self) -> Vec<Movement> {
        let mut all: Vec<Movement> = Vec::new();
        loop {
            let after = all.last().map_or(0, |movement| movement.seq);
            let page = async || self.gate.house.statement(after).await.ok();
            let page = until("the statement", PATIENCE, page).await.unwrap();
            if page.is_empty() {
                return all;
            }
            all.extend(page);
        }
    }

    /// The gateway's statement is ours, movement by movement and in sum, and the books are whole.
    pub(crate) async fn agree(&self) {
        let statement = self.statement().await;
        let mut theirs: Vec<String> = statement
            .iter()
            .map(|movement| format!("{}={}", movement.reference, movement.money.minor()))
            .collect();
        theirs.sort();
        let ours = "select payment_id || '=' || captured_minor from billing.payment
            where kind = 'card' and state = 'succeeded' order by payment_id::text";
        assert_eq!(
            theirs.join(" "),
            self.ask(ours).await,
            "statement, payments"
        );
        let sum: i64 = statement
            .iter()
            .map(|movement| movement.money.minor())
            .sum();
        let cash =
            "select coalesce(sum(case debit when 'cash' then 1 else -1 end * amount_minor), 0)
            from billing.transfer where 'cash' in (debit, credit)";
        assert_eq!(sum.to_string(), self.ask(cash).await, "statement, cash");
        let checked = check::run(self.pool(), Scope::Always).await.unwrap();
        let violated: Vec<_> = checked.iter().filter(|found| !found.holds()).collect();
        assert!(violated.is_empty(), "{violated:#?}");
    }
}

//! A scene: a database with customers, prices and usage in it.

use std::time::Duration;

use billing::account::{self, NewAccount};
use billing::check::{self, Scope};
use billing::ids::{AccountId, PriceId};
use billing::money::{Currency, Money};
use billing::month_close::{self, Closed, Options};
use billing::price::{self, Model, NewPrice, PriceKey};
use billing::report::{self, Fact};
use billing::usage::{self, UsageEvent, UsageKey};
use chrono::{DateTime, NaiveDate, Utc};
use outbox::{
    BacklogWatch, ConsumerSpec, Event, Failure, Obsolete, Origin, Outbox, Relay, Transactional,
    UnitOfWork, Worker, WorkerConfig,
};
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, PgPool};
use testkit::{Template, TestDb, until};
use tokio_util::sync::CancellationToken;

/// Long enough for a busy machine, short enough to be noticed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn month(text: &str) -> NaiveDate {
    format!("{text}-01").parse().unwrap()
}

pub(crate) fn origin() -> Origin {
    Origin::of("Ada").bulk().because("a test")
}

pub(crate) struct Books {
    pub(crate) outbox: Outbox,
    /// Dropped with this value.
    _db: TestDb,
}

impl Books {
    pub(crate) async fn open() -> Self {
        let migrations = [&outbox::MIGRATOR, &billing::MIGRATOR];
        let template = Template::of_migrations("billing", &migrations);
        let migrate = async |pool: PgPool| Ok(billing::migrate(&pool).await?);
        let db = TestDb::from_template(template, migrate).await.unwrap();
        Self {
            outbox: Outbox::new(db.pool.clone()),
            _db: db,
        }
    }

    pub(crate) fn pool(&self) -> &PgPool {
        self.outbox.pool()
    }

    pub(crate) async fn begin(&self) -> UnitOfWork {
        self.outbox.begin(origin()).await.unwrap()
    }

    pub(crate) async fn account(&self, external_id: &str, currency: &str) -> AccountId {
        let mut tx = self.begin().await;
        let wanted = NewAccount {
            external_id: external_id.to_owned(),
            name: format!("Customer {external_id}"),
            currency: Currency::parse(currency).unwrap(),
            zone: chrono_tz::Europe::Budapest,
        };
        let account = account::create(&mut tx, wanted, outbox::clock::now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        account.account_id
    }

    /// A price per unit of `rate`, or one that passes costs through.
    pub(crate) async fn price(&self, code: &str, currency: &str, rate: Option<&str>) -> PriceId {
        let model = match rate {
            Some(rate) => Model::PerUnit {
                unit_price: rate.parse().unwrap(),
            },
            None => Model::PassThrough,
        };
        let currency = Currency::parse(currency).unwrap();
        let wanted = NewPrice {
            key: PriceKey {
                code: code.to_owned(),
                model,
                currency,
            },
            unit: "h".to_owned(),
            description: format!("Use of {code}"),
        };
        let mut tx = self.begin().await;
        let prices = price::create_all(&mut tx, &[wanted], outbox::clock::now())
            .await
            .unwrap();
        tx.commit().await.unwrap();
        prices[0].price_id
    }

    /// Usage in units and, at a price that passes costs through, of an amount.
    pub(crate) async fn used(
        &self,
        (account, price): (AccountId, PriceId),
        usage_month: NaiveDate,
        (quantity, amount): (&str, &str),
    ) {
        let event = usage_event((account, price), usage_month, (quantity, amount));
        let mut tx = self.begin().await;
        usage::record(&mut tx, &[event]).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Customers `c000`, `c001`, …, each of whom used something in `of`.
    pub(crate) async fn customers(&self, count: usize, of: NaiveDate) -> Vec<AccountId> {
        let price = self.price("vm", "USD", Some("0.25")).await;
        let mut accounts = Vec::new();
        for n in 0..count {
            let account = self.account(&format!("c{n:03}"), "USD").await;
            self.used((account, price), of, (&(n + 1).to_string(), "0"))
                .await;
            accounts.push(account);
        }
        accounts
    }

    pub(crate) fn options(&self, month: NaiveDate) -> Options {
        let as_of = DateTime::<Utc>::from_timestamp(1_735_689_600, 0).unwrap();
        Options::new(month, as_of, outbox::clock::now(), origin())
    }

    pub(crate) async fn close(&self, month: NaiveDate) -> Closed {
        month_close::run(&self.outbox, &self.options(month), &|_| ())
            .await
            .unwrap()
    }

    pub(crate) async fn run(&self, sql: &str) {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
            .execute(self.pool())
            .await
            .unwrap();
    }

    /// The first column of the first row, as text.
    pub(crate) async fn ask(&self, sql: &str) -> String {
        let sql = format!("select answer::text from ({sql}) as asked (answer)");
        let answer: Option<String> = sqlx::query_scalar(AssertSqlSafe(sql))
            .fetch_one(self.pool())
            .await
            .unwrap();
        answer.unwrap_or_else(|| "null".to_owned())
    }

    /// Waits until somebody in this database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        let waiting = "select count(*) from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        let look = async || (self.ask(waiting).await != "0").then_some(());
        until("a transaction that waits for a lock", PATIENCE, look)
            .await
            .unwrap();
    }

    /// The codes of the checks that are violated.
    pub(crate) async fn violated(&self, scope: Scope) -> Vec<&'static str> {
        let outcomes = check::run(self.pool(), scope).await.unwrap();
        outcomes
            .iter()
            .filter(|found| !found.holds())
            .map(|found| found.code)
            .collect()
    }

    /// Runs relay and consumers until every event is handled.
    pub(crate) async fn settle(&self) {
        let stop = CancellationToken::new();
        let relay = tokio::spawn(Relay::new(self.outbox.clone()).run(stop.clone()));
        let mut worker = Worker::new(self.outbox.clone(), WorkerConfig::default());
        worker.transactional(ConsumerSpec::new("report", TOPICS), Report);
        let documents = || ConsumerSpec::new("documents", &TOPICS[..1]);
        worker.transactional(documents(), Documents);
        let notices = || ConsumerSpec::new("notices", TOLD_OF);
        worker.transactional(notices(), Notices);
        for spec in [ConsumerSpec::new("report", TOPICS), documents(), notices()] {
            outbox::register(self.pool(), &spec).await.unwrap();
        }
        let worker = tokio::spawn(worker.run(stop.clone()));
        until("all events to be handled", PATIENCE, async || {
            self.is_at_rest().await.then_some(())
        })
        .await
        .unwrap();
        stop.cancel();
        relay.await.unwrap().unwrap();
        worker.await.unwrap().unwrap();
    }

    async fn is_at_rest(&self) -> bool {
        let mut backlogs = BacklogWatch::new(self.pool().clone());
        let names = ["report", "documents", "notices"];
        let rest = backlogs.rest(&names).await.unwrap();
        rest.is_some()
    }
}

pub(crate) fn usage_event(
    (account_id, price_id): (AccountId, PriceId),
    usage_month: NaiveDate,
    (quantity, amount): (&str, &str),
) -> UsageEvent {
    let event_id = outbox::ids::new().to_string();
    let decimal = |text: &str| text.parse::<Decimal>().unwrap();
    UsageEvent {
        body_hash: Sha256::digest(format!("{event_id} {quantity} {amount}")).into(),
        key: UsageKey {
            source: "meter".to_owned(),
            event_id,
        },
        account_id,
        price_id,
        usage_month,
        quantity: decimal(quantity),
        amount: decimal(amount),
        used_at: usage_month.and_hms_opt(12, 0, 0).unwrap().and_utc(),
    }
}

const TOPICS: &[&str] = &["invoice.finalized", "invoice.paid", "payment.succeeded"];

/// Keeps the collection report's figures.
struct Report;

impl Transactional for Report {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        let facts: Vec<_> = events
            .iter()
            .map(|event| (fact(event), event.part))
            .collect();
        report::count(tx, &facts).await.map_err(Failure::retry)?;
        Ok(Vec::new())
    }
}

fn fact(event: &Event) -> Fact {
    let payload = event.payload.to_value();
    let currency = Currency::parse(payload["currency"].as_str().unwrap()).unwrap();
    let money = |field: &str| Money::new(payload[field].as_i64().unwrap(), currency);
    let month = month(payload["month"].as_str().unwrap());
    match event.topic.as_str() {
        "invoice.paid" => Fact::Paid(month, currency),
        "payment.succeeded" => Fact::Collected(month, money("captured_minor")),
        _ => Fact::Finalized(report::Finalized {
            month,
            total: money("total_minor"),
            credit: money("credit_minor"),
            lines: payload["lines"].as_i64().unwrap(),
            is_paid: payload["state"] == "paid",
        }),
    }
}

/// Notes a document of one byte for each invoice.
struct Documents;

impl Transactional for Documents {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            sqlx::query(
                "insert into billing.document (invoice_id, state, path, sha256, bytes, written_at)
                values ($1::uuid, 'written', $2, sha256('x'), 1, clock_timestamp())",
            )
            .bind(
                event.payload.to_value()["invoice_id"]
                    .as_str()
                    .map(|id| id.parse::<uuid::Uuid>().unwrap()),
            )
            .bind(event.payload.to_value()["number"].as_str())
            .execute(&mut **tx)
            .await?;
        }
        Ok(Vec::new())
    }
}

const TOLD_OF: &[&str] = &[
    "invoice.finalized",
    "payment.succeeded",
    "payment.declined",
    "hold.placed",
    "hold.released",
];

/// Notes that customers were told.
struct Notices;

impl Transactional for Notices {
    async fn apply(&self, tx: &mut UnitOfWork, events: &[Event]) -> Result<Vec<Obsolete>, Failure> {
        for event in events {
            let facts = event.payload.to_value();
            let (kind, cause) = match event.topic.as_str() {
                "invoice.finalized" if facts["total_minor"] == 0 => continue,
                "invoice.finalized" => ("invoice", &facts["invoice_id"]),
                "payment.succeeded" => ("receipt", &facts["payment_id"]),
                "payment.declined" => ("payment_failed", &facts["payment_id"]),
                "hold.placed" => ("hold", &facts["hold_id"]),
                _ => ("release", &facts["hold_id"]),
            };
            sqlx::query(
                "insert into billing.notice (notice_id, account_id, kind, cause, invoice_id, state,
                    recipient, subject, message_id, sent_at)
                values (gen_random_uuid(), $1, $2, $3::uuid, $4::uuid, 'sent', 'a@b', 'News',
                    gen_random_uuid()::text, clock_timestamp())",
            )
            .bind(event.key)
            .bind(kind)
            .bind(cause.as_str())
            .bind(facts["invoice_id"].as_str())
            .execute(&mut **tx)
            .await?;
        }
        Ok(Vec::new())
    }
}

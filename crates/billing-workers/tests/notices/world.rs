//! Customers with invoices, and the events that their notices come from.

use billing::account::{self, NewAccount};
use billing::dunning::{self, Declined};
use billing::gateway::Verdict;
use billing::ids::{AccountId, InvoiceId, NoticeId, PaymentId};
use billing::money::{Currency, Money};
use billing::month_close;
use billing::notice::{self, Mail, Notice, Outcome};
use billing::payment::{self, ByHand, Decision};
use billing::payment_method::{self, NewPaymentMethod};
use billing::price::{self, Model, NewPrice, PriceKey};
use billing::usage::{self, UsageEvent, UsageKey};
use billing_workers::{Message, Notices, Sender, Sink};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use outbox::{Act, Dedupe, Event, External as _, Load, Origin, Outbox, Recorded, UnitOfWork};
use sqlx::Row as _;
use testkit::TestDb;

pub(crate) struct World {
    pub(crate) outbox: Outbox,
    _db: TestDb,
}

pub(crate) fn september() -> NaiveDate {
    "2024-09-01".parse().unwrap()
}

pub(crate) fn usd(minor: i64) -> Money {
    Money::new(minor, Currency::parse("USD").unwrap())
}

pub(crate) fn sender() -> Sender {
    Sender::parse("Billing <billing@example.com>").unwrap()
}

fn now() -> DateTime<Utc> {
    outbox::clock::now()
}

impl World {
    pub(crate) async fn open() -> Self {
        let db = TestDb::billing().await.unwrap();
        Self {
            outbox: Outbox::new(db.pool.clone()),
            _db: db,
        }
    }

    /// A world with one customer, who has an address and a final invoice of so much.
    pub(crate) async fn with_customer(name: &str, amount: &str) -> (Self, AccountId) {
        let world = Self::open().await;
        let account = world.customer(name, amount).await;
        world.email(account, Some("ada@example.org")).await;
        world.close().await;
        (world, account)
    }

    pub(crate) async fn begin(&self) -> UnitOfWork {
        self.outbox.begin(Origin::of("Ada")).await.unwrap()
    }

    /// A customer in Los Angeles who used so many dollars in September.
    pub(crate) async fn customer(&self, name: &str, amount: &str) -> AccountId {
        let mut tx = self.begin().await;
        let wanted = NewAccount {
            external_id: name.to_owned(),
            name: name.to_owned(),
            currency: Currency::parse("USD").unwrap(),
            zone: account::parse_zone("America/Los_Angeles").unwrap(),
        };
        let account = account::create(&mut tx, wanted, now()).await.unwrap();
        let price = NewPrice {
            key: PriceKey {
                code: "cloud".to_owned(),
                model: Model::PassThrough,
                currency: account.currency,
            },
            unit: "h".to_owned(),
            description: "Cloud & more".to_owned(),
        };
        let prices = price::create_all(&mut tx, &[price], now()).await.unwrap();
        let usage = UsageEvent {
            key: UsageKey {
                source: "meter".to_owned(),
                event_id: outbox::ids::new().to_string(),
            },
            body_hash: [7; 32],
            account_id: account.account_id,
            price_id: prices[0].price_id,
            usage_month: september(),
            quantity: "1".parse().unwrap(),
            amount: amount.parse().unwrap(),
            used_at: september().and_hms_opt(20, 0, 0).unwrap().and_utc(),
        };
        usage::record(&mut tx, &[usage]).await.unwrap();
        tx.commit().await.unwrap();
        account.account_id
    }

    pub(crate) async fn email(&self, account: AccountId, email: Option<&str>) {
        let mut tx = self.begin().await;
        account::set_email(&mut tx, account, email).await.unwrap();
        tx.commit().await.unwrap();
    }

    pub(crate) async fn close(&self) {
        let as_of = "2024-10-01T07:00:00Z".parse().unwrap();
        let origin = Origin::of("Ada").bulk();
        let options = month_close::Options::new(september(), as_of, now(), origin);
        month_close::run(&self.outbox, &options, &|_| ())
            .await
            .unwrap();
    }

    pub(crate) async fn invoice(&self, account: AccountId) -> InvoiceId {
        let id: uuid::Uuid =
            sqlx::query_scalar("select invoice_id from billing.invoice where account_id = $1")
                .bind(uuid::Uuid::from(account))
                .fetch_one(self.outbox.pool())
                .await
                .unwrap();
        id.into()
    }

    pub(crate) async fn pay_by_hand(&self, account: AccountId, money: Money) {
        let by_hand = ByHand {
            payment: PaymentId::new(),
            account,
            invoice: Some(self.invoice(account).await),
            money,
            note: "bank statement 7".to_owned(),
        };
        let mut tx = self.begin().await;
        payment::record(&mut tx, by_hand, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// A card that is declined for good: the payment fails, and the account is held.
    pub(crate) async fn decline(&self, account: AccountId) {
        let invoice = self.invoice(account).await;
        let mut tx = self.begin().await;
        let card = NewPaymentMethod {
            account,
            gateway: "sim".to_owned(),
            token: "tok_1".to_owned(),
            brand: "Visa".to_owned(),
            last_four: "4242".to_owned(),
        };
        payment_method::add(&mut tx, card, now()).await.unwrap();
        let wanted = [(invoice, outbox::ids::new())];
        let decided = payment::decide_all(&mut tx, &wanted, now()).await.unwrap();
        let Some(Decision::Charge(attempt)) = decided.into_iter().next() else {
            panic!("nothing is charged");
        };
        let payment = attempt.payment;
        let leaving = [(payment, now() + TimeDelta::hours(20))];
        payment::depart_all(&mut tx, &leaving, now()).await.unwrap();
        tx.commit().await.unwrap();

        let declined = payment::Outcome::Verdict(Verdict::Declined {
            gateway_ref: None,
            code: "stolen_card".to_owned(),
            is_soft: false,
        });
        let mut tx = self.begin().await;
        let outcomes = [(payment, declined)];
        payment::settle_all(&mut tx, &outcomes, now())
            .await
            .unwrap();
        let declined = Declined {
            payment,
            account,
            invoice,
            is_soft: false,
        };
        dunning::escalate(&mut tx, declined, now()).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// The events of a topic, as the log hands them to a consumer.
    pub(crate) async fn events(&self, topic: &str) -> Vec<Event> {
        let rows = sqlx::query(
            "select event_id, topic, schema_version, key, at, payload
             from outbox.event where topic = $1 order by id",
        );
        let rows = rows.bind(topic).fetch_all(self.outbox.pool()).await;
        let event = |row: &sqlx::postgres::PgRow| {
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
        };
        rows.unwrap().iter().map(event).collect()
    }

    pub(crate) async fn load<S: Sink>(&self, notices: &Notices<S>, topic: &str) -> Vec<Load<Mail>> {
        let events = self.events(topic).await;
        let mut tx = self.begin().await;
        let loads = notices.load(&mut tx, &events).await.unwrap();
        tx.commit().await.unwrap();
        loads
    }

    /// Handles the events of a topic as the engine does, and says what there was to do.
    pub(crate) async fn deliver<S: Sink>(&self, notices: &Notices<S>, topic: &str) -> Vec<String> {
        let mut done = Vec::new();
        for load in self.load(notices, topic).await {
            let mail = match load {
                Load::Recorded => {
                    done.push("recorded".to_owned());
                    continue;
                }
                Load::Obsolete(reason) => {
                    done.push(format!("obsolete: {reason}"));
                    continue;
                }
                Load::Call(mail) => mail,
            };
            done.push(match notices.act(&mail).await {
                Act::Answer(answer) => {
                    let said = format!("{answer:?}");
                    let mut tx = self.begin().await;
                    let answers = vec![(mail, answer)];
                    notices.settle(&mut tx, answers).await.unwrap();
                    tx.commit().await.unwrap();
                    said
                }
                act => format!("{act:?}"),
            });
        }
        done
    }

    /// What the account was told, a line a notice: kind, state, and why it was not sent.
    pub(crate) async fn told(&self, account: AccountId) -> Vec<String> {
        let line = |notice: Notice| {
            let why = notice.suppressed.map(|why| format!(": {why}"));
            format!(
                "{} {}{}",
                notice.kind,
                notice.state,
                why.unwrap_or_default()
            )
        };
        self.notices(account, None)
            .await
            .into_iter()
            .map(line)
            .collect()
    }

    pub(crate) async fn notices(&self, account: AccountId, after: Option<NoticeId>) -> Vec<Notice> {
        notice::of_account(self.outbox.pool(), account, after, 100)
            .await
            .unwrap()
    }
}

/// Keeps the mails that it is given.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept(std::sync::Arc<std::sync::Mutex<Vec<Mail>>>);

impl Kept {
    pub(crate) fn mails(&self) -> Vec<Mail> {
        self.0.lock().unwrap().clone()
    }

    /// The only mail.
    pub(crate) fn mail(&self) -> Mail {
        let mut mails = self.mails();
        assert_eq!(mails.len(), 1, "{mails:?}");
        mails.remove(0)
    }
}

impl Sink for Kept {
    const DEDUPE: Dedupe = Dedupe::IdempotentSink;

    async fn send(&self, mail: &Mail, _: Message) -> Act<Outcome> {
        self.0.lock().unwrap().push(mail.clone());
        Act::Answer(Outcome::Sent)
    }
}

/// Notices that are kept, and where.
pub(crate) fn kept() -> (Notices<Kept>, Kept) {
    let kept = Kept::default();
    (Notices::new(kept.clone(), sender()), kept)
}

//! A database, the files that are imported into it, and what can be asked of it afterwards.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use billing::account::{self, Account, NewAccount};
use billing::ids::{AccountId, PriceId};
use billing::import::{ImportError, ImportOptions, ImportSummary, OnBadRow, focus};
use billing::money::Currency;
use billing::price::{self, Model, NewPrice, PriceKey};
use billing::usage::{UsageEvent, UsageKey};
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use outbox::{Origin, Outbox, UnitOfWork};
use rust_decimal::Decimal;
use sqlx::AssertSqlSafe;
use tempfile::NamedTempFile;
use testkit::TestDb;

pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct World {
    pub(crate) db: TestDb,
    pub(crate) outbox: Outbox,
}

impl World {
    pub(crate) async fn new() -> Self {
        let db = TestDb::billing().await.unwrap();
        let outbox = Outbox::new(db.pool.clone());
        Self { db, outbox }
    }

    pub(crate) async fn begin(&self) -> UnitOfWork {
        self.outbox.begin(Origin::of("tester")).await.unwrap()
    }

    pub(crate) async fn import(
        &self,
        path: &Path,
        on_bad_row: OnBadRow,
    ) -> Result<ImportSummary, ImportError> {
        let options = ImportOptions {
            on_bad_row,
            now: now(),
        };
        focus::import_file(&self.outbox, Origin::of("tester"), path, options, |_| ()).await
    }

    /// An account and a price to use, committed.
    pub(crate) async fn customer(&self) -> (AccountId, PriceId) {
        let mut tx = self.begin().await;
        let account = account::create(&mut tx, new_account("acme"), now())
            .await
            .unwrap();
        let price_id = price(&mut tx).await;
        tx.commit().await.unwrap();
        (account.account_id, price_id)
    }

    /// The rows of a query, each as text.
    pub(crate) async fn rows(&self, query: &str) -> Vec<String> {
        let query = format!("select row_text::text from ({query}) as row_text");
        sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_all(&self.db.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn count(&self, from: &str) -> i64 {
        let query = format!("select count(*) from {from}");
        sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&self.db.pool)
            .await
            .unwrap()
    }

    /// Everything that an import writes.
    pub(crate) async fn figures(&self) -> Vec<String> {
        self.rows(
            "select
                (select count(*) from billing.account) as accounts,
                (select count(*) from billing.price) as prices,
                (select count(*) from billing.period) as periods,
                (select count(*) from billing.usage_event) as events,
                (select count(*) from billing.usage_sum) as sums,
                (select sum(events) from billing.usage_sum) as summed,
                (select bit_xor(digest) from billing.usage_sum) as digest,
                (select count(*) from outbox.event) as announced",
        )
        .await
    }

    /// Closes all open periods of a month, as the month close does.
    pub(crate) async fn close(&self, month: &str) {
        let mut tx = self.db.pool.begin().await.unwrap();
        close_within(&mut tx, month).await;
        tx.commit().await.unwrap();
    }

    /// Waits until somebody in this database waits for a lock.
    pub(crate) async fn somebody_waits(&self) {
        let waiting = "pg_stat_activity
             where datname = current_database() and wait_event_type = 'Lock'";
        let look = async || (self.count(waiting).await > 0).then_some(());
        testkit::until("a transaction that waits for a lock", PATIENCE, look)
            .await
            .unwrap();
    }
}

pub(crate) async fn close_within(connection: &mut sqlx::PgConnection, month: &str) {
    let statements = format!(
        "select from billing.account order by account_id for update;
         insert into billing.month_close (month, run_id, as_of, state, started_at)
         values ('{month}', gen_random_uuid(), now(), 'running', now());
         update billing.period set state = 'billed', run_id = month_close.run_id
         from billing.month_close
         where month_close.month = '{month}' and period.month = '{month}'
             and period.state = 'open'",
    );
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .unwrap();
}

pub(crate) async fn price(tx: &mut UnitOfWork) -> PriceId {
    let unit_price = "0.5".parse().unwrap();
    let key = PriceKey {
        code: "cpu".to_owned(),
        model: Model::PerUnit { unit_price },
        currency: Currency::parse("USD").unwrap(),
    };
    let new = NewPrice {
        key,
        unit: "Hours".to_owned(),
        description: "a core".to_owned(),
    };
    price::create_all(tx, &[new], now()).await.unwrap()[0].price_id
}

pub(crate) fn new_account(external_id: &str) -> NewAccount {
    NewAccount {
        external_id: external_id.to_owned(),
        name: "Acme".to_owned(),
        currency: Currency::parse("USD").unwrap(),
        zone: Tz::UTC,
    }
}

pub(crate) async fn named(tx: &mut UnitOfWork, external_id: &str) -> Option<Account> {
    account::by_external_id(tx, external_id).await.unwrap()
}

/// Usage of two hours, whose body is its id.
pub(crate) fn usage(
    (account_id, price_id): (AccountId, PriceId),
    event_id: &str,
    month: &str,
) -> UsageEvent {
    let mut body_hash = [0; 32];
    body_hash[..event_id.len()].copy_from_slice(event_id.as_bytes());
    UsageEvent {
        key: UsageKey {
            source: "meter".to_owned(),
            event_id: event_id.to_owned(),
        },
        account_id,
        price_id,
        usage_month: day(month),
        quantity: Decimal::TWO,
        amount: Decimal::ZERO,
        used_at: now(),
        body_hash,
    }
}

pub(crate) fn wanted(account_id: AccountId, months: &[&str]) -> BTreeSet<(AccountId, NaiveDate)> {
    months
        .iter()
        .map(|month| (account_id, day(month)))
        .collect()
}

pub(crate) fn day(date: &str) -> NaiveDate {
    date.parse().unwrap()
}

pub(crate) fn now() -> DateTime<Utc> {
    "2024-10-01T06:00:00Z".parse().unwrap()
}

pub(crate) fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples/focus/focus_2024-09.csv")
}

const HEADER: &str = "Id,SubAccountId,SubAccountName,BillingCurrency,BillingPeriodStart,\
    ChargePeriodStart,SkuPriceId,SkuId,PricingUnit,ChargeDescription,ListUnitPrice,\
    PricingQuantity,BilledCost";

/// A file of lines, each with the changes that it names: `Id=3 BilledCost=abc`.
pub(crate) fn file(lines: &[&str]) -> NamedTempFile {
    bytes(
        [HEADER]
            .into_iter()
            .map(str::to_owned)
            .chain(lines.iter().map(|line| row(line))),
    )
}

pub(crate) fn bytes(lines: impl IntoIterator<Item = String>) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    for line in lines {
        writeln!(file, "{line}").unwrap();
    }
    file
}

pub(crate) fn header() -> String {
    HEADER.to_owned()
}

pub(crate) fn row(changes: &str) -> String {
    let field = |name: &str| {
        let mut all = changes
            .split(' ')
            .filter_map(|change| change.split_once('='));
        let changed = all
            .find(|(column, _)| *column == name)
            .map(|(_, text)| text);
        changed.unwrap_or(match name {
            "Id" => "1",
            "SubAccountId" => "acme",
            "BillingCurrency" => "USD",
            "BillingPeriodStart" => "2024-09-01T00:00:00Z",
            "ChargePeriodStart" => "2024-09-30T22:00:00Z",
            "SkuPriceId" => "cpu",
            "ListUnitPrice" => "0.5",
            "PricingQuantity" => "2",
            "BilledCost" => "1",
            _ => "",
        })
    };
    HEADER.split(',').map(field).collect::<Vec<_>>().join(",")
}

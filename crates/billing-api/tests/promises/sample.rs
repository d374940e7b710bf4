//! The sample month, closed, and an invoice of it that is being charged.

use std::path::Path;

use billing::ids::{AccountId, InvoiceId, PaymentId};
use billing::import::{ImportOptions, OnBadRow, focus};
use billing::month_close;
use billing::payment::{self, Decision};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use outbox::{Origin, clock};
use serde_json::json;
use uuid::Uuid;

use crate::scene::Scene;

const FILE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../samples/focus/focus_2024-09.csv"
);

pub(crate) fn september() -> NaiveDate {
    "2024-09-01".parse().unwrap()
}

/// The sample month, imported and closed.
pub(crate) async fn closed() -> Scene {
    let scene = Scene::new().await;
    let origin = || Origin::of("Ada").because("a test");
    let now: DateTime<Utc> = "2025-01-01T00:00:00Z".parse().unwrap();
    let import = ImportOptions {
        on_bad_row: OnBadRow::Stop,
        now,
    };
    focus::import_file(&scene.outbox, origin(), Path::new(FILE), import, |_| ())
        .await
        .unwrap();
    let options = month_close::Options::new(september(), now, now, origin());
    month_close::run(&scene.outbox, &options, &|_| ())
        .await
        .unwrap();
    scene
}

/// An open invoice of the sample; which.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Debt {
    pub(crate) account: AccountId,
    pub(crate) invoice: InvoiceId,
    pub(crate) due_minor: i64,
}

impl Debt {
    /// The largest one.
    pub(crate) async fn of(scene: &Scene) -> Self {
        Self::all(scene).await.remove(0)
    }

    /// The largest first, of an account each.
    pub(crate) async fn all(scene: &Scene) -> Vec<Self> {
        let rows: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
            "select account_id, invoice_id, total_minor - settled_minor
            from billing.invoice where state = 'finalized'
            order by total_minor desc, number",
        )
        .fetch_all(&scene.db.pool)
        .await
        .unwrap();
        let debts = rows.into_iter().map(|(account, invoice, due_minor)| Self {
            account: account.into(),
            invoice: invoice.into(),
            due_minor,
        });
        debts.collect()
    }

    pub(crate) fn path(&self) -> String {
        format!("/v1/accounts/{}", Uuid::from(self.account))
    }

    /// Its amount, as it is written.
    pub(crate) fn due(&self) -> String {
        format!("{}.{:02}", self.due_minor / 100, self.due_minor % 100)
    }

    /// A card is there, and the charge is on its way.
    pub(crate) async fn charged(&self, scene: &Scene) -> PaymentId {
        let card = json!({
            "gateway": "house", "token": "tok_approve", "brand": "Visa", "last_four": "4242",
        });
        let added = format!("{}/payment-methods", self.path());
        assert_eq!(scene.tell(&added, &card).await.status, 201);
        let now = clock::now();
        let mut tx = scene.outbox.begin(Origin::of("tester")).await.unwrap();
        let wanted = [(self.invoice, outbox::ids::new())];
        let decided = payment::decide_all(&mut tx, &wanted, now).await.unwrap();
        tx.commit().await.unwrap();
        let [Decision::Charge(attempt)] = decided.as_slice() else {
            panic!("no charge: {decided:?}");
        };
        let mut tx = scene.outbox.begin(Origin::of("tester")).await.unwrap();
        let leaving = [(attempt.payment, now + TimeDelta::hours(1))];
        let sent = payment::depart_all(&mut tx, &leaving, now).await.unwrap();
        tx.commit().await.unwrap();
        assert_eq!(sent, [attempt.payment]);
        attempt.payment
    }
}

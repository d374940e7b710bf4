//! Violations planted one by one, and the check that has to find each.

use std::collections::{BTreeMap, BTreeSet};

use billing::check::{self, Scope};
use sqlx::{AssertSqlSafe, Row};

use billing::payment::Outcome;

use self::table::Plant;
use crate::books::{Books, month};
use crate::hosting::{flat, hourly, new, until};
use crate::paying::{captured, money};

mod around;
mod collection;
mod table;

fn plants() -> impl Iterator<Item = &'static Plant> {
    let domain = table::PLANTS.iter().chain(collection::PLANTS);
    domain.chain(around::PLANTS)
}

/// Two months with everything that can happen in them, handled by the consumers.
pub(crate) async fn good() -> Books {
    let books = Books::open().await;
    let (august, september) = (month("2024-08"), month("2024-09"));
    let vm = books.price("vm", "USD", Some("0.125")).await;
    let free = books.price("free", "USD", Some("0")).await;
    let cost = books.price("cost", "USD", None).await;
    let yen = books.price("vm", "JPY", Some("0.5")).await;
    let acme = books.account("acme", "USD").await;
    books.used((acme, vm), august, ("1.1", "0")).await;
    books.used((acme, vm), august, ("-0.3", "0")).await;
    books
        .used((acme, cost), august, ("1", "12.345678901234"))
        .await;
    books.close(august).await;
    books.card(acme, "tok_approve").await;
    let due = money(1_245, "USD");
    let payment = books.sent(books.invoice(acme).await).await;
    books.told(payment, captured(due)).await;
    books.refunded(payment, money(45, "USD")).await;
    books.grant(acme, money(20, "USD")).await;

    books.used((acme, vm), september, ("7", "0")).await;
    books.used((acme, vm), august, ("3", "0")).await;
    let mut named = BTreeMap::new();
    for (name, currency, price, use_of) in [
        ("zero", "USD", free, ("5", "0")),
        ("credit", "USD", cost, ("1", "-3")),
        ("nippon", "JPY", yen, ("3", "0")),
        ("late", "USD", vm, ("40", "0")),
        ("lost", "USD", vm, ("50", "0")),
        ("foreign", "USD", yen, ("1", "0")),
    ] {
        let account = books.account(name, currency).await;
        books.used((account, price), september, use_of).await;
        named.insert(name, account);
    }
    host(&books).await;
    let sleepy = books.account("sleepy", "USD").await;
    books.used((sleepy, vm), month("2024-07"), ("1", "0")).await;
    books.used((sleepy, vm), month("2024-10"), ("1", "0")).await;
    books.close(september).await;
    books.by_hand(acme, money(500, "USD")).await;
    assert!(books.balance(acme, "customer_credit").await > 0);
    for name in ["nippon", "late", "lost"] {
        books.card(named[name], "tok_decline").await;
    }
    books.refused(named["nippon"], false).await;
    books.refused(named["late"], true).await;
    let lost = books.sent(books.invoice(named["lost"]).await).await;
    for why in ["no answer", "no answer to the look-up"] {
        books.told(lost, Outcome::Unknown(why.to_owned())).await;
    }
    books.settle().await;
    books
}

/// A customer whose plan is of a part of September, and whose servers come, go and stay.
async fn host(books: &Books) {
    let plan = books.model("plan", "USD", flat("19.99")).await;
    let vps = books.model("vps", "USD", hourly("0.00744", "5")).await;
    let hosted = books.account("hosted", "USD").await;
    let (plan, vps) = ((hosted, plan), (hosted, vps));
    let gone = "2024-09-14T03:20:00.000001Z";
    let all = [
        new(plan, "Žižka & Co", "2024-09-10T22:00:00Z"),
        new(vps, "web-1", "2024-09-02T10:17:33Z"),
        until(gone, new(vps, "web-2", "2024-09-02T10:17:33Z")),
    ];
    books.start(&all).await.unwrap();
    let ended = "2024-09-30T22:00:00Z";
    books.end((hosted, "web-1"), ended).await.unwrap();
}

/// Every guard of the schemas, taken away: a check must not lean on what should prevent the
/// violation that it looks for.
pub(crate) const UNGUARDED: &str = "
do $$
declare
    guard record;
begin
    for guard in
        select tgrelid::regclass as relation, tgname
        from pg_trigger
        join pg_class on pg_class.oid = tgrelid
        where not tgisinternal and relnamespace = 'billing'::regnamespace
    loop
        execute format('drop trigger if exists %I on %s', guard.tgname, guard.relation);
    end loop;
    for guard in
        select conrelid::regclass as relation, conname, contype
        from pg_constraint
        where connamespace in ('billing'::regnamespace, 'outbox'::regnamespace)
            and conparentid = 0 and coninhcount = 0 and contype <> 't'
        order by contype = 'p', contype = 'u', contype <> 'f'
    loop
        execute format('alter table %s drop constraint %I cascade', guard.relation, guard.conname);
    end loop;
    for guard in
        select indexrelid::regclass as relation
        from pg_index
        join pg_class on pg_class.oid = indexrelid
        where indisunique and relnamespace = 'billing'::regnamespace
    loop
        execute format('drop index %s', guard.relation);
    end loop;
    for guard in
        select attrelid::regclass as relation, attname
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where attnotnull and attnum > 0 and relkind = 'r' and relispartition = false
            and relnamespace = 'billing'::regnamespace
    loop
        execute format(
            'alter table %s alter column %I drop not null', guard.relation, guard.attname
        );
    end loop;
end $$";

#[tokio::test]
async fn each_planted_violation_is_found_by_its_checks_and_by_no_other() {
    let books = good().await;
    books.run(UNGUARDED).await;
    assert_eq!(
        books.violated(Scope::AtRest).await,
        ["A4"],
        "without guards all is still well"
    );

    let mut wrong = Vec::new();
    for (expected, bug, statements) in plants() {
        let mut found = found_after(&books, statements).await;
        found.remove("A4");
        wrong.extend(difference(expected, bug, &found));
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn each_guard_that_is_taken_away_is_found() {
    let books = good().await;

    let mut wrong = Vec::new();
    for (expected, bug, statements) in around::GUARDS {
        let found = found_after(&books, statements).await;
        wrong.extend(difference(expected, bug, &found));
    }

    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn difference(expected: &[&str], bug: &str, found: &BTreeSet<&str>) -> Option<String> {
    let expected: BTreeSet<&str> = expected.iter().copied().collect();
    (*found != expected).then(|| format!("{bug}: {found:?} instead of {expected:?}"))
}

async fn found_after(books: &Books, statements: &str) -> BTreeSet<&'static str> {
    let mut tx = books.pool().begin().await.unwrap();
    let planted = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()))
        .execute(&mut *tx)
        .await;
    planted.unwrap_or_else(|error| panic!("{statements}: {error}"));
    let outcomes = check::run_in(&mut tx, Scope::AtRest).await.unwrap();
    tx.rollback().await.unwrap();
    outcomes
        .iter()
        .filter(|found| !found.holds())
        .map(|found| found.code)
        .collect()
}

#[test]
fn every_check_has_a_plant() {
    let planted = plants().chain(around::GUARDS);
    let planted: BTreeSet<&str> = planted.map(|(codes, ..)| codes[0]).collect();
    let all: BTreeSet<&str> = check::ALL.iter().map(|check| check.code).collect();

    assert_eq!(planted, all);
}

#[tokio::test]
async fn a_database_without_guards_has_none() {
    let books = Books::open().await;
    books.run(UNGUARDED).await;

    let left = sqlx::query(
        "select count(*) from pg_constraint where connamespace = 'billing'::regnamespace",
    );
    let left: i64 = left.fetch_one(books.pool()).await.unwrap().get(0);

    assert_eq!(left, 0);
}

//! What rows refer to stays, though few foreign keys say so.

use billing::check::{self, Scope};
use sqlx::AssertSqlSafe;

use crate::books::Books;
use crate::plants;

/// The columns that refer to a row of another table, without a foreign key.
const REFERENCES: &[&str] = &[
    "period.account_id",
    "period.run_id",
    "subscription.account_id",
    "subscription.price_id",
    "usage_event.account_id",
    "usage_event.price_id",
    "usage_sum.account_id",
    "usage_sum.price_id",
    "invoice.account_id",
    "invoice.run_id",
    "line.invoice_id",
    "line.price_id",
    "line.subscription_id",
    "transfer.account_id",
    "balance.account_id",
    "payment_method.account_id",
    "credit.account_id",
    "payment.account_id",
    "payment.invoice_id",
    "payment.payment_method_id",
    "notice.account_id",
    "notice.invoice_id",
];

#[tokio::test]
async fn a_reference_to_nothing_is_found_wherever_it_stands() {
    let books = plants::good().await;
    books.run(plants::UNGUARDED).await;

    for reference in REFERENCES {
        let (table, column) = reference.split_once('.').unwrap();
        let strayed = format!(
            "update billing.{table} set {column} = gen_random_uuid()
            where ctid = (select min(ctid) from billing.{table} where {column} is not null)"
        );
        assert!(finds(&books, &strayed).await, "{reference}");
    }
    for strayed in [
        "update billing.usage_event set period_seq = 99",
        "update billing.usage_sum set period_seq = 99",
        "update billing.invoice set period_seq = 99",
        "update billing.invoice set series = 'X'",
        "update billing.document set invoice_id = gen_random_uuid()",
    ] {
        assert!(finds(&books, strayed).await, "{strayed}");
    }
}

async fn finds(books: &Books, strayed: &str) -> bool {
    let mut tx = books.pool().begin().await.unwrap();
    let changed = sqlx::raw_sql(AssertSqlSafe(strayed.to_owned()))
        .execute(&mut *tx)
        .await
        .unwrap();
    assert_ne!(changed.rows_affected(), 0, "{strayed}");
    let outcomes = check::run_in(&mut tx, Scope::Always).await.unwrap();
    tx.rollback().await.unwrap();
    let found = outcomes.iter().find(|outcome| outcome.code == "F1");
    !found.unwrap().holds()
}

/// A column that is named like one of another table's key, refers to it, and is not in the list.
#[tokio::test]
async fn every_reference_has_a_foreign_key_or_is_looked_at() {
    let books = Books::open().await;
    let unkeyed = "
        select relname || '.' || attname
        from pg_attribute
        join pg_class on pg_class.oid = attrelid
        where relnamespace = 'billing'::regnamespace and relkind = 'r' and attnum > 0
            and attname in ('account_id', 'price_id', 'invoice_id', 'subscription_id', 'run_id',
                'payment_id', 'payment_method_id', 'credit_id')
            and not exists (
                select from pg_constraint
                where conrelid = attrelid and attnum = any (conkey)
                    and (contype = 'f' or (contype in ('p', 'u') and conkey = array[attnum]))
            )
        order by 1";
    let unkeyed: Vec<String> = sqlx::query_scalar(unkeyed)
        .fetch_all(books.pool())
        .await
        .unwrap();
    let mut listed = REFERENCES.to_vec();
    listed.sort_unstable();

    assert_eq!(unkeyed, listed);
}

#[tokio::test]
async fn what_others_refer_to_is_neither_deleted_nor_emptied() {
    let books = plants::good().await;

    for table in [
        "account",
        "price",
        "month_close",
        "period",
        "subscription",
        "number_series",
        "invoice",
        "line",
        "payment_method",
        "transfer",
    ] {
        for removal in [
            format!("delete from billing.{table}"),
            format!("truncate billing.{table} cascade"),
        ] {
            let refused = sqlx::raw_sql(AssertSqlSafe(removal.clone()))
                .execute(books.pool())
                .await
                .unwrap_err();
            let code = refused.as_database_error().unwrap().code().unwrap();
            assert_eq!(code, "23001", "{removal}: {refused}");
        }
    }
}

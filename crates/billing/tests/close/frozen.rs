//! What the database refuses, and that it is these guards which refuse it.

use billing::check::Scope;

use crate::books::{Books, month};

async fn refused(books: &Books, sql: &str) -> Option<String> {
    let result = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
        .execute(books.pool())
        .await;
    result.err().map(|error| error.to_string())
}

/// A second invoice for the period of another account, copied by hand and without an event.
const UNANNOUNCED: &str = "
    insert into billing.invoice select (jsonb_populate_record(invoice, jsonb_build_object(
        'invoice_id', gen_random_uuid(), 'number', 2, 'state', 'void', 'voided_at', now(),
        'announced_by', gen_random_uuid(), 'announced_xid', pg_current_xact_id()
    ))).* from billing.invoice";

#[tokio::test]
async fn an_invoice_without_its_event_cannot_commit() {
    let books = Books::open().await;
    books.customers(1, month("2024-09")).await;
    books.close(month("2024-09")).await;

    let refusal = refused(&books, UNANNOUNCED).await.unwrap();
    assert!(
        refusal.contains("without its event invoice.finalized"),
        "{refusal}"
    );

    books
        .run("drop trigger invoice_announced on billing.invoice")
        .await;
    assert_eq!(refused(&books, UNANNOUNCED).await, None);
    let violated = books.violated(Scope::Always).await;
    assert!(
        ["A1", "E1"].iter().all(|code| violated.contains(code)),
        "{violated:?}"
    );
}

#[tokio::test]
async fn a_final_invoice_and_its_lines_never_change() {
    let books = Books::open().await;
    books.customers(2, month("2024-09")).await;
    books.close(month("2024-09")).await;
    let changes = [
        "update billing.invoice set customer_name = 'Another'",
        "update billing.invoice set as_of = as_of + interval '1 day'",
        "delete from billing.invoice",
        "update billing.line set amount_minor = 0",
        "delete from billing.line",
    ];

    for change in changes {
        let refusal = refused(&books, change).await.unwrap();
        assert!(
            refusal.contains("a final invoice never changes"),
            "{change}: {refusal}"
        );
    }

    books
        .run("alter table billing.invoice disable trigger invoice_frozen")
        .await;
    assert_eq!(refused(&books, changes[0]).await, None);
    assert_eq!(books.violated(Scope::Always).await, ["I5", "A4"]);
}

#[tokio::test]
async fn what_is_posted_never_changes() {
    let books = Books::open().await;
    books.customers(1, month("2024-09")).await;
    books.close(month("2024-09")).await;
    let change = "update billing.transfer set amount_minor = amount_minor + 1";

    let refusal = refused(&books, change).await.unwrap();

    assert!(refusal.contains("what is posted stays"), "{refusal}");
    books
        .run("alter table billing.transfer disable trigger transfer_kept")
        .await;
    assert_eq!(refused(&books, change).await, None);
    assert_eq!(books.violated(Scope::Always).await, ["L3", "L4", "A4"]);
}

#[tokio::test]
async fn a_final_invoice_is_not_paid_without_its_event() {
    let books = Books::open().await;
    books.customers(1, month("2024-09")).await;
    books.close(month("2024-09")).await;
    let paid = "update billing.invoice set state = 'paid', paid_at = now(),
        settled_minor = total_minor, paid_event = gen_random_uuid(),
        paid_xid = pg_current_xact_id()";

    let refusal = refused(&books, paid).await.unwrap();

    assert!(
        refusal.contains("changed without its event invoice.paid"),
        "{refusal}"
    );
    books
        .run("alter table billing.invoice disable trigger invoice_paid")
        .await;
    assert_eq!(refused(&books, paid).await, None);
    assert_eq!(
        books.violated(Scope::Always).await,
        ["I8", "A1", "A4"],
        "nobody has paid in the books"
    );
}

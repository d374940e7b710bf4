//! From usage to invoices, ledger and events.

use billing::check::Scope;
use billing::month_close::{self, ChunkClosed, State};

use crate::books::{Books, month};

#[tokio::test]
async fn a_month_becomes_invoices_with_lines_transfers_balances_and_events() {
    let books = Books::open().await;
    let september = month("2024-09");
    let account = books.account("acme", "USD").await;
    let vm = books.price("vm", "USD", Some("0.25")).await;
    let dns = books.price("dns", "USD", None).await;
    books.used((account, vm), september, ("10", "0")).await;
    books.used((account, vm), september, ("2.5", "0")).await;
    books.used((account, dns), september, ("1", "0.005")).await;

    let closed = books.close(september).await;

    assert_eq!(closed.run.state, State::Closed);
    assert_eq!((closed.done.invoices, closed.done.lines), (1, 2));
    assert_eq!(closed.figures.invoiced[0].to_string(), "3.14 USD");
    let lines =
        "select string_agg(concat_ws(' ', line_no, price_code, quantity, exact, amount_minor,
        usage_events), ', ' order by line_no) from billing.line";
    assert_eq!(
        books.ask(lines).await,
        "1 dns 1 0.005 1 1, 2 vm 12.5 3.125 313 2"
    );
    let transfers = "select concat_ws(' ', source_kind, debit, credit, currency, amount_minor)
        from billing.transfer";
    assert_eq!(
        books.ask(transfers).await,
        "invoice receivable revenue USD 314"
    );
    let balances = "select concat_ws(' ', book, currency, amount_minor) from billing.balance";
    assert_eq!(books.ask(balances).await, "receivable USD 314");
    let facts = "select payload::jsonb - 'invoice_id' - 'account_id' from outbox.event
        where topic = 'invoice.finalized'";
    assert_eq!(
        books.ask(facts).await.parse::<serde_json::Value>().unwrap(),
        serde_json::json!({
            "external_id": "acme", "number": "INV-000001", "currency": "USD",
            "subtotal_minor": 314, "tax_minor": 0, "total_minor": 314, "total": "3.14",
            "credit_minor": 0, "lines": 2, "state": "finalized", "month": "2024-09",
            "as_of": "2025-01-01T00:00:00Z",
        })
    );
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_total_of_zero_is_final_and_paid() {
    let books = Books::open().await;
    let account = books.account("acme", "USD").await;
    let price = books.price("free", "USD", Some("0")).await;
    books
        .used((account, price), month("2024-09"), ("7", "0"))
        .await;

    let closed = books.close(month("2024-09")).await;

    assert_eq!(
        (closed.done.zero, closed.figures.zero, closed.figures.paid),
        (1, 1, 1)
    );
    let paid = "select state || (paid_at = finalized_at) from billing.invoice";
    assert_eq!(books.ask(paid).await, "paidtrue");
    assert_eq!(
        books.ask("select count(*) from billing.transfer").await,
        "0"
    );
    assert_eq!(books.ask("select count(*) from billing.line").await, "1");
}

#[tokio::test]
async fn a_negative_total_goes_to_the_accounts_credit() {
    let books = Books::open().await;
    let account = books.account("acme", "USD").await;
    let price = books.price("refund", "USD", None).await;
    books
        .used((account, price), month("2024-09"), ("1", "-0.005"))
        .await;
    books
        .used((account, price), month("2024-10"), ("1", "-2"))
        .await;

    books.close(month("2024-09")).await;
    books.close(month("2024-10")).await;

    let invoices = "select string_agg(state || ' ' || total_minor, ', ' order by number)
        from billing.invoice";
    assert_eq!(books.ask(invoices).await, "paid -1, paid -200");
    let transfers = "select min(debit || ' ' || credit) || ' ' || sum(amount_minor)
        from billing.transfer";
    assert_eq!(books.ask(transfers).await, "revenue customer_credit 201");
    let balances = "select concat_ws(' ', book, amount_minor) from billing.balance";
    assert_eq!(books.ask(balances).await, "customer_credit 201");
    assert!(books.violated(Scope::Always).await.is_empty());
}

#[tokio::test]
async fn a_period_with_nothing_to_bill_gets_no_invoice() {
    let books = Books::open().await;
    let account = books.account("acme", "USD").await;
    let price = books.price("vm", "USD", Some("1")).await;
    // The month between them comes into being with the later one.
    books
        .used((account, price), month("2024-08"), ("1", "0"))
        .await;
    books
        .used((account, price), month("2024-10"), ("1", "0"))
        .await;

    let closed = books.close(month("2024-09")).await;

    assert_eq!(
        closed.done,
        ChunkClosed {
            empty: 1,
            ..ChunkClosed::default()
        }
    );
    assert_eq!((closed.figures.invoices, closed.figures.empty), (0, 1));
    assert_eq!(books.ask("select count(*) from billing.invoice").await, "0");
}

#[tokio::test]
async fn a_second_run_changes_nothing() {
    let books = Books::open().await;
    books.customers(7, month("2024-09")).await;
    let first = books.close(month("2024-09")).await;
    let written = "select concat_ws(' ', (select max(id) from outbox.event),
        (select max(closed_at) from billing.month_close), (select next_number
        from billing.number_series), (select sum(amount_minor) from billing.balance))";
    let before = books.ask(written).await;

    let second = books.close(month("2024-09")).await;

    assert_eq!(second.done, ChunkClosed::default());
    assert_eq!((second.run, second.figures), (first.run, first.figures));
    assert_eq!(books.ask(written).await, before);
}

#[tokio::test]
async fn a_dry_run_tells_what_a_run_would_do_and_leaves_nothing() {
    let books = Books::open().await;
    let september = month("2024-09");
    books.customers(5, september).await;
    let options = month_close::Options {
        chunk: 2,
        ..books.options(september)
    };

    let mut tx = books.begin().await;
    let dry = month_close::dry_run(&mut tx, &options).await.unwrap();
    tx.rollback().await.unwrap();

    assert_eq!(books.ask("select count(*) from billing.invoice").await, "0");
    assert_eq!(
        books.ask("select count(*) from billing.month_close").await,
        "0"
    );
    let closed = books.close(september).await;
    assert_eq!((dry.done, dry.figures), (closed.done, closed.figures));
    assert_eq!(dry.run.state, State::Closed);
    // The numbers of the dry run were given again.
    assert_eq!(
        books.ask("select max(number) from billing.invoice").await,
        "5"
    );
}

#[tokio::test]
async fn progress_counts_up_to_the_total() {
    let books = Books::open().await;
    books.customers(5, month("2024-09")).await;
    let options = month_close::Options {
        chunk: 2,
        parallel: 1,
        ..books.options(month("2024-09"))
    };
    let seen = std::sync::Mutex::new(Vec::new());

    let note = |at: month_close::Progress| seen.lock().unwrap().push((at.done, at.total));
    month_close::run(&books.outbox, &options, &note)
        .await
        .unwrap();

    assert_eq!(seen.into_inner().unwrap(), [(2, 5), (4, 5), (5, 5)]);
}

#[tokio::test]
async fn history_tells_who_did_what_and_why() {
    let books = Books::open().await;
    let account = books.customers(1, month("2024-09")).await[0];
    books.close(month("2024-09")).await;

    let history = billing::history::of_account(books.pool(), account, 0, 10)
        .await
        .unwrap();

    let told: Vec<_> = history
        .iter()
        .map(|entry| (entry.topic.as_str(), entry.actor.as_str()))
        .collect();
    assert_eq!(
        told,
        [("account.created", "Ada"), ("invoice.finalized", "Ada")]
    );
    assert_eq!(history[1].reason.as_deref(), Some("a test"));
    let later = billing::history::of_account(books.pool(), account, history[0].id, 10)
        .await
        .unwrap();
    assert_eq!(later, history[1..]);
}

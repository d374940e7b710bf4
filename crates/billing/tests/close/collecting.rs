//! Collecting: credit before cards, retries before holds, and no hold while anything is unknown.

use billing::check::Scope;
use billing::dunning;
use billing::ids::{AccountId, PaymentId};
use billing::payment::{Decision, Outcome};
use uuid::Uuid;

use crate::books::{Books, month};
use crate::paying::{captured, declined, money};

/// One account with usage of 10.00 in August, closed.
async fn owing() -> (Books, AccountId) {
    let books = Books::open().await;
    let account = used(&books, "2024-08", "80").await;
    books.close(month("2024-08")).await;
    (books, account)
}

async fn used(books: &Books, of: &str, hours: &str) -> AccountId {
    let vm = books.price("vm", "USD", Some("0.125")).await;
    let account = books.account("acme", "USD").await;
    books.used((account, vm), month(of), (hours, "0")).await;
    account
}

async fn state(books: &Books, account: AccountId) -> String {
    let invoice = Uuid::from(books.invoice(account).await);
    books
        .ask(&format!(
            "select state || ' ' || settled_minor from billing.invoice
            where invoice_id = '{invoice}'"
        ))
        .await
}

async fn held(books: &Books) -> i64 {
    let open = "select count(*) from billing.hold where released_at is null";
    books.ask(open).await.parse().unwrap()
}

async fn planned(books: &Books, topic: &str) -> String {
    let sql = format!(
        "select coalesce(string_agg(round(extract(epoch from due_at - now()) / 86400)::text, ' '),
            'nothing')
        from outbox.timer where topic = '{topic}'"
    );
    books.ask(&sql).await
}

/// Nothing is at rest here: no consumer runs.
async fn expect_clean(books: &Books) {
    assert_eq!(books.violated(Scope::Always).await, Vec::<&str>::new());
}

#[tokio::test]
async fn credit_pays_an_invoice_when_it_is_finalized() {
    let books = Books::open().await;
    let account = used(&books, "2024-08", "80").await;
    books.grant(account, money(2_500, "USD")).await;
    books.close(month("2024-08")).await;

    assert_eq!(state(&books, account).await, "paid 1000");
    assert_eq!(books.balance(account, "customer_credit").await, 1_500);
    assert_eq!(books.balance(account, "receivable").await, 0);
    assert!(matches!(
        books.decide(books.invoice(account).await).await,
        Decision::Nothing(_)
    ));
    expect_clean(&books).await;
}

/// The control: without credit the whole invoice is charged.
#[tokio::test]
async fn without_credit_the_card_pays_all() {
    let (books, account) = owing().await;
    books.card(account, "tok_approve").await;

    let Decision::Charge(attempt) = books.decide(books.invoice(account).await).await else {
        panic!("nothing is charged");
    };

    assert_eq!(attempt.money, money(1_000, "USD"));
}

#[tokio::test]
async fn credit_that_came_later_is_used_before_the_card() {
    let (books, account) = owing().await;
    books.card(account, "tok_approve").await;
    books.grant(account, money(400, "USD")).await;

    let Decision::Charge(attempt) = books.decide(books.invoice(account).await).await else {
        panic!("nothing is charged");
    };

    assert_eq!(attempt.money, money(600, "USD"));
    assert_eq!(state(&books, account).await, "finalized 400");
    assert!(books.depart(attempt.payment).await);
    books
        .told(attempt.payment, captured(money(600, "USD")))
        .await;
    assert_eq!(state(&books, account).await, "paid 1000");
    expect_clean(&books).await;
}

#[tokio::test]
async fn what_is_captured_above_the_due_amount_is_the_customers() {
    let (books, account) = owing().await;
    books.card(account, "tok_approve").await;
    let payment = books.sent(books.invoice(account).await).await;
    books.by_hand(account, money(700, "USD")).await;

    books.told(payment, captured(money(1_000, "USD"))).await;

    assert_eq!(state(&books, account).await, "paid 1000");
    assert_eq!(books.balance(account, "customer_credit").await, 700);
    assert_eq!(books.balance(account, "receivable").await, 0);
    expect_clean(&books).await;
}

#[tokio::test]
async fn a_soft_decline_is_tried_again_in_three_days_unless_it_is_paid_before() {
    let (books, account) = owing().await;
    books.card(account, "tok_soft_then_ok").await;
    books.refused(account, true).await;
    assert_eq!(planned(&books, "payment.wanted").await, "3");
    assert_eq!(held(&books).await, 0);

    books.by_hand(account, money(1_000, "USD")).await;

    assert_eq!(planned(&books, "payment.wanted").await, "nothing");
    expect_clean(&books).await;
}

#[tokio::test]
async fn the_last_soft_decline_holds_and_the_payment_releases() {
    let (books, account) = owing().await;
    books.card(account, "tok_soft").await;
    for _ in 0..3 {
        books.refused(account, true).await;
        assert_eq!(held(&books).await, 0);
    }

    books.refused(account, true).await;
    assert_eq!(held(&books).await, 1);
    expect_clean(&books).await;

    // A part does not clear the debt; the last cent does.
    books.by_hand(account, money(999, "USD")).await;
    assert_eq!(held(&books).await, 1);
    books.by_hand(account, money(1, "USD")).await;
    assert_eq!(held(&books).await, 0);
    expect_clean(&books).await;
}

/// The account's second invoice is sent and nobody knows the outcome.
async fn unsure() -> (Books, AccountId, PaymentId) {
    let (books, account) = owing().await;
    let august = books.invoice(account).await;
    books.card(account, "tok_decline").await;
    let payment = books.sent(august).await;
    books
        .told(payment, Outcome::Unknown("no answer".to_owned()))
        .await;
    let vm = books.price("vm", "USD", Some("0.125")).await;
    books
        .used((account, vm), month("2024-09"), ("40", "0"))
        .await;
    books.close(month("2024-09")).await;
    (books, account, payment)
}

#[tokio::test]
async fn nobody_is_held_while_the_outcome_of_a_payment_is_unknown() {
    let (books, account, payment) = unsure().await;

    books.refused(account, false).await;

    assert_eq!(held(&books).await, 0);
    assert_ne!(planned(&books, "dunning.due").await, "nothing");
    books.told(payment, captured(money(1_000, "USD"))).await;
    let mut tx = books.begin().await;
    let whose = (account, books.invoice(account).await);
    dunning::look_again(&mut tx, whose, outbox::clock::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    assert_eq!(held(&books).await, 1);
    expect_clean(&books).await;
}

/// The control: with the outcome known the same decline holds at once.
#[tokio::test]
async fn a_hard_decline_holds_at_once_when_everything_is_known() {
    let (books, account, payment) = unsure().await;
    books.told(payment, captured(money(1_000, "USD"))).await;

    books.refused(account, false).await;

    assert_eq!(held(&books).await, 1);
}

#[tokio::test]
async fn while_a_payment_is_open_there_is_no_second_one() {
    let (books, account) = owing().await;
    books.card(account, "tok_approve").await;
    let invoice = books.invoice(account).await;
    let first = books.sent(invoice).await;

    let second = books.decide(invoice).await;

    assert!(matches!(second, Decision::Nothing(_)), "{second:?}");
    books.told(first, declined(true)).await;
    // The control: once it has ended, there may be another.
    assert!(matches!(books.decide(invoice).await, Decision::Charge(_)));
}

#[tokio::test]
async fn nothing_leaves_a_final_state() {
    let (books, account) = owing().await;
    books.card(account, "tok_approve").await;
    let payment = books.sent(books.invoice(account).await).await;
    books.told(payment, captured(money(1_000, "USD"))).await;

    books.told(payment, declined(false)).await;
    books.told(payment, captured(money(1_000, "USD"))).await;
    books
        .told(payment, Outcome::Unknown("late".to_owned()))
        .await;

    assert_eq!(books.balance(account, "customer_credit").await, 0);
    let forced = sqlx::query("update billing.payment set state = 'declined'");
    let refused = forced.execute(books.pool()).await.unwrap_err().to_string();
    assert!(refused.contains("a payment does not go from succeeded to declined"));
    expect_clean(&books).await;
}

#[tokio::test]
async fn a_dispute_stops_charges_before_the_decision_and_before_the_departure() {
    let (books, account) = owing().await;
    books.card(account, "tok_approve").await;
    let invoice = books.invoice(account).await;
    let Decision::Charge(attempt) = books.decide(invoice).await else {
        panic!("nothing is charged");
    };
    let id = Uuid::from(account);
    books
        .run(&format!(
            "alter table billing.hold disable trigger user;
            insert into billing.hold
                (hold_id, account_id, reason, cause, placed_at, announced_by)
            values (gen_random_uuid(), '{id}', 'dispute', 'case 7', now(), gen_random_uuid());
            alter table billing.hold enable trigger user"
        ))
        .await;

    assert!(!books.depart(attempt.payment).await);
    assert!(matches!(books.decide(invoice).await, Decision::Nothing(_)));
}

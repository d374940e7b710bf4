//! Who is told what, from which figures, and who is spared.

use billing::notice;
use outbox::Load;

use crate::world::{World, kept, september, usd};

const INVOICE: &str = "invoice.finalized";
const FAILED: &str = "payment.declined";

#[tokio::test]
async fn figures_are_those_of_the_frozen_invoice_and_only_the_address_is_of_now() {
    let (world, account) = World::with_customer("Ada & Sons", "10.00").await;
    let mut tx = world.begin().await;
    sqlx::query(
        "update billing.account
         set name = 'Renamed', zone = 'Europe/Budapest', currency = 'HUF', email = 'new@example.org'
         where account_id = $1",
    )
    .bind(uuid::Uuid::from(account))
    .execute(&mut *tx)
    .await
    .unwrap();
    tx.commit().await.unwrap();

    let (notices, kept) = kept();
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);

    let mail = kept.mail();
    assert_eq!(mail.to, "new@example.org");
    assert_eq!(mail.subject, "Invoice INV-000001: USD 10.00 due");
    assert!(mail.text.starts_with("Dear Ada & Sons,\n"), "{}", mail.text);
    let as_of = "As of 2024-10-01 00:00:00 PDT, your invoice INV-000001 for September 2024";
    assert!(mail.text.contains(as_of), "{}", mail.text);
    assert!(mail.html.contains("Ada &#38; Sons") && mail.html.contains(as_of));
    assert!(!format!("{mail:?}").contains("Renamed"));
    // The control: where nothing was frozen, the account of now is asked.
    world.decline(account).await;
    world.deliver(&notices, "hold.placed").await;
    let hold = kept.mails().pop().unwrap();
    assert!(hold.text.starts_with("Dear Renamed,\n") && hold.text.contains(" CE"));
}

#[tokio::test]
async fn credit_that_was_used_is_not_asked_for_again() {
    let world = World::open().await;
    let account = world.customer("Ada", "10.00").await;
    world.email(account, Some("ada@example.org")).await;
    let mut tx = world.begin().await;
    let credit = billing::credit::NewCredit {
        credit: billing::ids::CreditId::new(),
        account,
        money: usd(400),
        reason: "a good customer".to_owned(),
    };
    billing::credit::grant(&mut tx, credit, outbox::clock::now())
        .await
        .unwrap();
    tx.commit().await.unwrap();
    world.close().await;

    let (notices, kept) = kept();
    world.deliver(&notices, INVOICE).await;

    assert_eq!(kept.mail().subject, "Invoice INV-000001: USD 6.00 due");
    assert!(
        kept.mail()
            .text
            .contains("Credit used: USD 4.00\nDue: USD 6.00")
    );
}

#[tokio::test]
async fn nobody_is_mailed_about_nothing() {
    let (world, account) = World::with_customer("Ada", "0").await;
    let (notices, kept) = kept();

    assert_eq!(world.deliver(&notices, INVOICE).await, ["recorded"]);

    assert!(kept.mails().is_empty());
    let spared = ["invoice suppressed: the invoice's total is zero"];
    assert_eq!(world.told(account).await, spared);
}

#[tokio::test]
async fn an_account_without_an_address_is_recorded_and_one_that_has_it_is_told() {
    let world = World::open().await;
    let (silent, told) = (
        world.customer("Ada", "1.00").await,
        world.customer("Bob", "1.00").await,
    );
    world.email(told, Some("bob@example.org")).await;
    world.close().await;

    let (notices, kept) = kept();
    world.deliver(&notices, INVOICE).await;

    let spared = ["invoice suppressed: the account has no e-mail address"];
    assert_eq!(world.told(silent).await, spared);
    assert_eq!(world.told(told).await, ["invoice sent"]);
    assert_eq!(kept.mail().to, "bob@example.org");
}

#[tokio::test]
async fn a_failed_payment_is_not_told_of_once_the_invoice_is_paid() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    world.decline(account).await;
    world.pay_by_hand(account, usd(1000)).await;

    let (notices, kept) = kept();
    let done = world.deliver(&notices, FAILED).await;

    assert_eq!(done, ["obsolete: the invoice is paid"]);
    assert!(kept.mails().is_empty());
    let spared = ["payment_failed suppressed: the invoice is paid"];
    assert_eq!(world.told(account).await, spared);
}

/// The control: the same event, and nobody has paid.
#[tokio::test]
async fn a_failed_payment_is_told_of_while_the_invoice_is_open() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    world.decline(account).await;

    let (notices, kept) = kept();
    let done = world.deliver(&notices, FAILED).await;

    assert_eq!(done, ["Sent"]);
    assert_eq!(world.told(account).await, ["payment_failed sent"]);
    assert!(kept.mail().text.contains("The bank's answer: stolen_card"));
    assert!(
        kept.mail()
            .text
            .contains("put another card on your account")
    );
}

#[tokio::test]
async fn an_intent_that_is_overtaken_before_its_next_attempt_is_given_up() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    world.decline(account).await;
    let (notices, kept) = kept();
    let first = world.load(&notices, FAILED).await;
    assert!(matches!(first[..], [Load::Call(_)]));
    world.pay_by_hand(account, usd(1000)).await;

    let done = world.deliver(&notices, FAILED).await;

    assert_eq!(done, ["obsolete: the invoice is paid"]);
    assert!(kept.mails().is_empty());
    let spared = "payment_failed suppressed: the invoice is paid; an earlier attempt may have \
                  reached the customer";
    assert_eq!(world.told(account).await, [spared]);
}

#[tokio::test]
async fn a_hold_and_its_release_are_told_in_their_time() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let (notices, kept) = kept();

    world.decline(account).await;
    assert_eq!(world.deliver(&notices, "hold.placed").await, ["Sent"]);
    world.pay_by_hand(account, usd(1000)).await;
    assert_eq!(world.deliver(&notices, "hold.released").await, ["Sent"]);

    let subjects: Vec<String> = kept.mails().into_iter().map(|mail| mail.subject).collect();
    let expected = [
        "Your account is on hold",
        "Your account is no longer on hold",
    ];
    assert_eq!(subjects, expected);
}

#[tokio::test]
async fn a_hold_that_is_over_is_told_neither_at_its_beginning_nor_at_its_end() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let (notices, kept) = kept();
    world.decline(account).await;
    world.pay_by_hand(account, usd(1000)).await;

    for topic in ["hold.placed", "hold.released"] {
        world.deliver(&notices, topic).await;
    }

    assert!(kept.mails().is_empty());
    let spared = [
        "hold suppressed: the hold is released",
        "release suppressed: nobody was told of the hold",
    ];
    assert_eq!(world.told(account).await, spared);
}

#[tokio::test]
async fn money_is_receipted_with_the_figures_of_its_payment() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    world.pay_by_hand(account, usd(1200)).await;

    let (notices, kept) = kept();
    assert_eq!(world.deliver(&notices, "payment.succeeded").await, ["Sent"]);

    let mail = kept.mail();
    assert_eq!(mail.subject, "Receipt: USD 12.00 for invoice INV-000001");
    let figures =
        "Received: USD 12.00\nPaid of INV-000001: USD 10.00\nAdded to your credit: USD 2.00";
    assert!(mail.text.contains(figures), "{}", mail.text);
    assert_eq!(world.told(account).await, ["receipt sent"]);
}

#[tokio::test]
async fn a_cause_is_told_once_however_often_its_event_is_handled() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let (notices, kept) = kept();

    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);
    assert_eq!(world.deliver(&notices, INVOICE).await, ["recorded"]);

    assert_eq!(kept.mails().len(), 1);
    assert_eq!(world.told(account).await, ["invoice sent"]);
    // The control: without the row the same event is told again.
    sqlx::query("delete from billing.notice")
        .execute(world.outbox.pool())
        .await
        .unwrap();
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);
    assert_eq!(kept.mails().len(), 2);
}

#[tokio::test]
async fn two_that_load_at_once_intend_the_same_mail() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let (notices, _) = kept();

    let loads = tokio::join!(world.load(&notices, INVOICE), world.load(&notices, INVOICE));

    let [(Load::Call(one), Load::Call(other))] = [(&loads.0[0], &loads.1[0])] else {
        panic!("{loads:?}");
    };
    assert_eq!(one.message_id, other.message_id);
    assert_eq!(
        (one.is_again, other.is_again),
        (!other.is_again, !one.is_again)
    );
    assert_eq!(world.told(account).await, ["invoice intended"]);
}

#[tokio::test]
async fn what_was_sent_can_be_asked() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let (notices, _) = kept();
    world.deliver(&notices, INVOICE).await;
    world.decline(account).await;
    world.deliver(&notices, FAILED).await;
    world.deliver(&notices, "hold.placed").await;

    let all = world.notices(account, None).await;
    let rest = world.notices(account, Some(all[0].notice_id)).await;

    assert_eq!(all.len(), 3);
    assert_eq!(rest, all[1..]);
    assert_eq!(all[0].recipient.as_deref(), Some("ada@example.org"));
    assert!(
        all.iter()
            .all(|notice| notice.sent_at >= Some(notice.intended_at))
    );
    let mut conn = world.outbox.pool().acquire().await.unwrap();
    // The hold is about no invoice.
    let count = notice::count_sent(&mut conn, september()).await.unwrap();
    assert_eq!(count, 2);
    let october = "2024-10-01".parse().unwrap();
    assert_eq!(notice::count_sent(&mut conn, october).await.unwrap(), 0);
}

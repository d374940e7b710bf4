//! Mail through a server that takes it, refuses it, or breaks off.

use std::net::SocketAddr;
use std::time::Duration;

use billing_workers::{Notices, Smtp, SmtpUrl};
use outbox::{Act, External as _, Load};
use testkit::until;

use crate::server::{Mood, Server};
use crate::world::{World, sender};

const INVOICE: &str = "invoice.finalized";
const PATIENCE: Duration = Duration::from_secs(20);

fn through(url: &str) -> Notices<Smtp> {
    let url = SmtpUrl::parse(url).unwrap();
    Notices::new(Smtp::new(url).unwrap(), sender())
}

/// A customer's invoice through a server of a mood: what was done, and what is recorded.
async fn sent_to(mood: Mood) -> (String, String, usize) {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(mood).await;
    let mut done = world.deliver(&through(&server.url()), INVOICE).await;
    let mut told = world.told(account).await;
    (done.remove(0), told.remove(0), server.contents().len())
}

#[tokio::test]
async fn a_server_receives_the_mail_as_it_was_written() {
    let (world, account) = World::with_customer("Müller & Söhne", "10.00").await;
    let server = Server::start(Mood::Good).await;

    assert_eq!(
        world.deliver(&through(&server.url()), INVOICE).await,
        ["Sent"]
    );

    assert_eq!(server.recipients(), ["ada@example.org"]);
    let content = server.contents().remove(0);
    for line in [
        "From: Billing <billing@example.com>",
        "To: ada@example.org",
        "Subject: Invoice INV-000001: USD 10.00 due",
        "Content-Type: text/plain; charset=utf-8",
        "Content-Type: text/html; charset=utf-8",
        "Dear M=C3=BCller & S=C3=B6hne,",
    ] {
        assert!(content.contains(line), "{line} in {content}");
    }
    let notice = &world.notices(account, None).await[0];
    assert_eq!(server.message_ids(), [notice.message_id.as_str()]);
    assert_eq!(notice.state, "sent");
}

#[tokio::test]
async fn a_connection_serves_one_mail_after_the_other() {
    let world = World::open().await;
    for name in ["Ada", "Bob", "Cid"] {
        let account = world.customer(name, "1.00").await;
        world.email(account, Some("all@example.org")).await;
    }
    world.close().await;
    let server = Server::start(Mood::Good).await;

    let done = world.deliver(&through(&server.url()), INVOICE).await;

    assert_eq!(done, ["Sent", "Sent", "Sent"]);
    assert_eq!(server.connections(), 1);
    assert_eq!(server.contents().len(), 3);
}

#[tokio::test]
async fn a_mail_that_is_put_off_is_tried_again() {
    let greylisted = Mood::Recipient(451, "4.7.1 Greylisted, please try again");

    let (done, told, received) = sent_to(greylisted).await;

    assert!(
        done.starts_with("Retry") && done.contains("451 4.7.1 Greylisted"),
        "{done}"
    );
    assert_eq!((told.as_str(), received), ("invoice intended", 0));
}

#[tokio::test]
async fn a_recipient_that_does_not_exist_is_recorded_in_the_servers_words() {
    let unknown = Mood::Recipient(550, "5.1.1 No such user here");

    let (done, told, received) = sent_to(unknown).await;

    assert_eq!(done, r#"Refused("550 5.1.1 No such user here")"#);
    let expected = "invoice suppressed: refused: 550 5.1.1 No such user here";
    assert_eq!((told.as_str(), received), (expected, 0));
}

#[tokio::test]
async fn a_content_that_is_refused_is_recorded_too() {
    let (done, told, _) = sent_to(Mood::Content(554, "5.6.0 Too long")).await;

    assert_eq!(done, r#"Refused("554 5.6.0 Too long")"#);
    assert_eq!(told, "invoice suppressed: refused: 554 5.6.0 Too long");
}

#[tokio::test]
async fn a_refused_recipient_leaves_the_connection_to_the_next_mail() {
    let world = World::open().await;
    for name in ["Ada", "Bob"] {
        let account = world.customer(name, "1.00").await;
        world.email(account, Some("all@example.org")).await;
    }
    world.close().await;
    let server = Server::start(Mood::Recipient(550, "5.1.1 No such user")).await;

    let done = world.deliver(&through(&server.url()), INVOICE).await;

    assert!(
        done.iter().all(|done| done.starts_with("Refused")),
        "{done:?}"
    );
    assert_eq!(server.connections(), 1);
}

/// What is wrong with us must not cost any customer his mail.
#[tokio::test]
async fn a_refusal_that_concerns_all_mail_waits_and_gives_none_up() {
    for mood in [
        Mood::Sender(550, "5.7.1 You may not send as billing@example.com"),
        Mood::Sender(451, "4.3.0 Out of order"),
        Mood::Recipient(530, "5.7.0 Log in first"),
        Mood::Recipient(421, "4.3.2 Closing down"),
        Mood::BreakAtRecipient,
    ] {
        let (done, told, received) = sent_to(mood).await;

        assert!(done.starts_with("Unavailable"), "{mood:?}: {done}");
        assert_eq!(
            (told.as_str(), received),
            ("invoice intended", 0),
            "{mood:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_does_not_relay_for_us_makes_dead_letters_to_be_redriven() {
    let relaying = Mood::Recipient(554, "5.7.1 Relay access denied");

    let (done, told, _) = sent_to(relaying).await;

    assert!(
        done.starts_with("Dead") && done.contains("Relay access denied"),
        "{done}"
    );
    assert_eq!(told, "invoice intended");
}

#[tokio::test]
async fn a_mail_whose_answer_was_lost_is_repeated_with_the_same_message_id() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::BreakAtContent).await;
    let notices = through(&server.url());

    let done = world.deliver(&notices, INVOICE).await;
    assert!(done[0].starts_with("Retry"), "{done:?}");
    server.mood(Mood::Good);
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);

    let ids = server.message_ids();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
    assert_eq!(world.told(account).await, ["invoice sent"]);
}

#[tokio::test]
async fn a_sender_killed_before_its_record_repeats_the_mail_once_with_its_message_id() {
    let (world, _) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::Good).await;
    let killed = through(&server.url());
    let mut loads = world.load(&killed, INVOICE).await;
    let Some(Load::Call(mail)) = loads.pop() else {
        panic!("nothing is sent");
    };
    assert!(matches!(killed.act(&mail).await, Act::Answer(_)));

    let successor = through(&server.url());
    assert_eq!(world.deliver(&successor, INVOICE).await, ["Sent"]);
    assert_eq!(world.deliver(&successor, INVOICE).await, ["recorded"]);

    let ids = server.message_ids();
    assert_eq!((ids.len(), &ids[0]), (2, &ids[1]));
}

#[tokio::test]
async fn a_server_that_is_not_there_stops_all_mail_and_gives_none_up() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let gone: SocketAddr = Server::start(Mood::Good).await.address;

    let done = world
        .deliver(&through(&format!("smtp://{gone}")), INVOICE)
        .await;

    assert!(done[0].starts_with("Unavailable"), "{done:?}");
    assert!(done[0].contains(&format!("mail server {gone}")), "{done:?}");
    assert_eq!(world.told(account).await, ["invoice intended"]);
}

/// Sends the same invoice once more, as another notice.
async fn forget(world: &World) {
    sqlx::query("delete from billing.notice")
        .execute(world.outbox.pool())
        .await
        .unwrap();
}

#[tokio::test]
async fn a_kept_connection_that_the_server_closed_is_replaced() {
    let (world, _) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::Good).await;
    let notices = through(&server.url());
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);

    server.mood(Mood::BreakAtNoop);
    forget(&world).await;

    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);
    assert_eq!((server.connections(), server.contents().len()), (2, 2));
}

/// Were its connection kept, the late answer to this mail would be taken for one to the next.
#[tokio::test]
async fn a_call_that_is_given_up_takes_its_connection_with_it() {
    let (world, _) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::SilentAtContent).await;
    let notices = through(&server.url());
    let arrived = async || (server.contents().len() == 1).then_some(());
    tokio::select! {
        done = world.deliver(&notices, INVOICE) => panic!("{done:?}"),
        waited = until("the content to arrive", PATIENCE, arrived) => waited.unwrap(),
    }

    server.mood(Mood::Good);
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);
    assert_eq!((server.connections(), server.contents().len()), (2, 2));
    // The control: a call that ended leaves its connection to the next.
    forget(&world).await;
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_login_that_fails_stops_all_mail_and_tells_no_password() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::Login).await;
    let url = |password| format!("smtp://ada:{password}@{}", server.address);

    let refused = world.deliver(&through(&url("secret")), INVOICE).await;

    assert!(refused[0].starts_with("Unavailable"), "{refused:?}");
    assert!(
        refused[0].contains("535") && !refused[0].contains("secret"),
        "{refused:?}"
    );
    assert_eq!(world.told(account).await, ["invoice intended"]);
    assert_eq!(
        world.deliver(&through(&url("right")), INVOICE).await,
        ["Sent"]
    );
    assert_eq!(server.logins(), ["ada secret", "ada right"]);
}

#[tokio::test]
async fn encryption_that_was_asked_for_is_not_done_without() {
    let (world, _) = World::with_customer("Ada", "10.00").await;
    let server = Server::start(Mood::Good).await;
    let url = format!("smtp://ada:right@{}?tls=required", server.address);

    let done = world.deliver(&through(&url), INVOICE).await;

    assert!(
        done[0].starts_with("Unavailable") && done[0].contains("STARTTLS"),
        "{done:?}"
    );
    assert!(server.logins().is_empty());
}

//! Accounts that two create at once, and what no account may be.

use billing::account::{self, AccountError};
use billing::money::Currency;

use super::world::{World, named, new_account, now};

#[tokio::test]
async fn an_account_that_exists_is_returned_as_it_stands() {
    let world = World::new().await;
    let (account_id, _) = world.customer().await;
    let mut other = new_account("acme");
    other.currency = Currency::parse("EUR").unwrap();

    let mut tx = world.begin().await;
    let wanted = [new_account("zebra"), other, new_account("acme")];
    let accounts = account::create_all(&mut tx, &wanted, now()).await.unwrap();
    tx.commit().await.unwrap();

    let ids: Vec<&str> = accounts
        .iter()
        .map(|account| account.external_id.as_str())
        .collect();
    assert_eq!(ids, ["acme", "zebra"]);
    assert_eq!(accounts[0].account_id, account_id);
    assert_eq!(accounts[0].currency.code(), "USD");
    assert_eq!(
        world
            .count("outbox.event where topic = 'account.created'")
            .await,
        2
    );
}

#[tokio::test]
async fn of_two_creators_at_once_one_finds_the_account_of_the_other() {
    let world = World::new().await;
    let wanted = [new_account("acme"), new_account("zebra")];
    let (mut first, mut second) = (world.begin().await, world.begin().await);

    let ours = account::create_all(&mut first, &wanted[..1], now())
        .await
        .unwrap();
    let commit = async {
        world.somebody_waits().await;
        first.commit().await.unwrap();
    };
    let (theirs, ()) = tokio::join!(account::create_all(&mut second, &wanted, now()), commit);
    second.commit().await.unwrap();

    assert_eq!(theirs.unwrap()[0], ours[0]);
    assert_eq!(world.count("billing.account").await, 2);
}

#[tokio::test]
async fn an_external_id_is_taken_once() {
    let world = World::new().await;
    world.customer().await;

    let mut tx = world.begin().await;
    let refused = account::create(&mut tx, new_account("acme"), now()).await;

    assert!(matches!(refused, Err(AccountError::ExternalIdTaken(id)) if id == "acme"));
    assert!(named(&mut tx, "acme").await.is_some());
    assert!(named(&mut tx, "nobody").await.is_none());
}

#[tokio::test]
async fn what_cannot_be_stored_or_shown_is_no_account() {
    let world = World::new().await;
    let mut tx = world.begin().await;
    let mut nameless = new_account("acme");
    nameless.name = String::new();

    for wanted in [
        new_account(""),
        new_account("a\0"),
        new_account(&"x".repeat(513)),
        nameless,
    ] {
        let refused = account::create(&mut tx, wanted, now()).await.unwrap_err();
        assert!(matches!(
            refused,
            AccountError::ExternalId(..) | AccountError::Name(..)
        ));
    }
    assert!(account::parse_zone("Europe/Budapest").is_ok());
    assert!(matches!(
        account::parse_zone("Mars/Olympus"),
        Err(AccountError::UnknownZone(_))
    ));
}

/// The control: what the database says to a writer that forgets the event.
#[tokio::test]
async fn an_account_cannot_be_committed_without_its_event() {
    let world = World::new().await;

    let silent = sqlx::raw_sql(
        "insert into billing.account
            (account_id, external_id, name, currency, zone, created_at, announced_by)
         values (gen_random_uuid(), 'acme', 'Acme', 'USD', 'UTC', now(), gen_random_uuid())",
    );
    let refused = silent.execute(&world.db.pool).await.unwrap_err();

    assert_eq!(
        refused.as_database_error().unwrap().constraint(),
        Some("account_announced")
    );
}

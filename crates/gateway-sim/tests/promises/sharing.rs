//! One folder, one gateway: the others join it, and one of them goes on when it ends.

use std::fs::File;
use std::io::Read as _;
use std::time::Duration;

use gateway_sim::{GatewaySim, StartError};
use tokio::time::timeout;

use crate::caller::Caller;
use crate::scene::{Program, gateway, until};

#[tokio::test]
async fn the_second_joins_the_first_and_takes_over_at_its_address() {
    let scene = gateway().await;
    let second = GatewaySim::at(scene.dir.path())
        .start_or_join()
        .await
        .unwrap();
    assert!(scene.gateway.is_ours());
    assert!(!second.is_ours());
    assert_eq!(second.url(), scene.gateway.url());
    let charge = scene.caller.charge("a-1", "tok_approve").await;

    scene.gateway.stop().await;
    until("the turn of the second", async || {
        second.is_ours().then_some(())
    })
    .await;

    let caller = Caller::of(second.url());
    assert_eq!(caller.charges_of("a-1").await, [charge.json()]);
}

#[tokio::test]
async fn who_must_be_the_only_one_is_refused() {
    let scene = gateway().await;

    let refused = GatewaySim::at(scene.dir.path()).start().await;

    let Err(StartError::Taken { url, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(url, scene.gateway.url());
}

#[tokio::test]
async fn two_folders_have_two_gateways() {
    let (one, other) = (gateway().await, gateway().await);

    one.caller.captured("a-1").await;

    assert_ne!(one.gateway.url(), other.gateway.url());
    assert!(other.caller.charges_of("a-1").await.is_empty());
}

#[tokio::test]
async fn a_stranger_at_the_former_address_is_not_joined() {
    let stranger = gateway().await;
    let dir = tempfile::tempdir().unwrap();
    let address = dir.path().join("gateway-sim.address");
    std::fs::write(&address, stranger.gateway.url()).unwrap();
    let lock = File::create(dir.path().join("gateway-sim.lock")).unwrap();
    lock.lock().unwrap();

    // Somebody keeps the books, and only the stranger answers.
    let entering = tokio::spawn(GatewaySim::at(dir.path()).start_or_join());
    let mut entering = std::pin::pin!(entering);
    let joined = timeout(Duration::from_millis(300), entering.as_mut()).await;
    assert!(joined.is_err(), "{joined:?}");
    lock.unlock().unwrap();
    let gateway = entering.await.unwrap().unwrap();

    assert!(gateway.is_ours());
    assert_ne!(gateway.url(), stranger.gateway.url());
    let told = std::fs::read_to_string(&address).unwrap();
    assert_eq!(told.trim(), gateway.url());
}

#[tokio::test]
async fn of_programs_that_start_at_once_one_keeps_the_books() {
    let dir = tempfile::tempdir().unwrap();

    let programs: Vec<_> = (0..4).map(|_| Program::spawn(dir.path(), &[])).collect();
    let programs: Vec<_> = programs.into_iter().map(Program::of).collect();

    let keeping = programs.iter().filter(|program| !program.url.is_empty());
    assert_eq!(keeping.count(), 1);
    for mut refused in programs
        .into_iter()
        .filter(|program| program.url.is_empty())
    {
        let mut said = String::new();
        refused
            .child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut said)
            .unwrap();
        assert!(said.contains("another gateway keeps the books"), "{said}");
    }
}

#[tokio::test]
async fn of_programs_that_join_the_next_goes_on_when_one_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let programs: Vec<_> = (0..3)
        .map(|_| Program::spawn(dir.path(), &["--join"]))
        .collect();
    let mut programs: Vec<_> = programs.into_iter().map(Program::of).collect();
    let url = programs[0].url.clone();
    assert!(
        programs.iter().all(|program| program.url == url),
        "one address"
    );
    let charge = Caller::of(&url).charge("a-1", "tok_approve").await;

    // Whoever keeps the books is among them: kill all but the last, one after the other.
    while programs.len() > 1 {
        programs.remove(0).kill_9();
        let caller = Caller::of(&url);
        let path = "/v1/charges?reference=a-1";
        let found = until("a successor", async || caller.try_get(path).await).await;
        assert_eq!(found.json()["charges"][0], charge.json());
    }
}

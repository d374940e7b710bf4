//! One file per invoice, whatever happens on the way.

use std::path::{Path, PathBuf};
use std::time::Duration;

use billing_workers::Documents;
use outbox::{Act, External, Load};
use sha2::{Digest as _, Sha256};
use testkit::until;

use crate::world::{World, files_below, origin};

const OF_STATES: &str = "select string_agg(state || ' ' || n, ', ') from (
        select state, count(*) as n from billing.document group by state order by state
    ) as states";

type Drafts = Vec<<Documents as External>::Intent>;

/// Loads all events' documents, and commits the intents.
async fn drafts(world: &World, documents: &Documents) -> Drafts {
    let mut tx = world.outbox.begin(origin()).await.unwrap();
    let loads = documents
        .load(&mut tx, &world.finalized().await)
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let draft = |load| match load {
        Load::Call(draft) => draft,
        load => panic!("{load:?}"),
    };
    loads.into_iter().map(draft).collect()
}

fn contents(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let read = |path: PathBuf| (path.clone(), std::fs::read(root.join(path)).unwrap());
    files_below(root).into_iter().map(read).collect()
}

#[tokio::test]
async fn each_invoice_has_one_file_that_is_the_one_recorded() {
    let world = World::closed().await;

    world.deliver_everything().await;

    let files = contents(&world.documents_dir());
    assert_eq!(files.len(), 66);
    assert_eq!(files[0].0, Path::new("2024-09/INV-000xxx/INV-000001.html"));
    assert_eq!(world.ask(OF_STATES).await, "written 66");
    for (path, content) in files {
        let recorded: (Vec<u8>, i64) =
            sqlx::query_as("select sha256, bytes from billing.document where path = $1")
                .bind(path.to_str().unwrap())
                .fetch_one(world.outbox.pool())
                .await
                .unwrap();
        assert_eq!(
            recorded,
            (Sha256::digest(&content).to_vec(), content.len() as i64)
        );
    }
}

#[tokio::test]
async fn a_writer_stopped_before_its_record_leaves_one_file_in_the_end() {
    let world = World::closed().await;
    let documents = Documents::in_folder(&world.documents_dir()).unwrap();
    for draft in drafts(&world, &documents).await {
        assert!(matches!(documents.act(&draft).await, Act::Answer(_)));
    }
    let before = contents(&world.documents_dir());
    assert_eq!(world.ask(OF_STATES).await, "intended 66");

    world.deliver_everything().await;

    assert_eq!(contents(&world.documents_dir()), before);
    assert_eq!(world.ask(OF_STATES).await, "written 66");
}

#[tokio::test]
async fn a_recorded_document_that_was_lost_is_written_again_by_a_replay() {
    let world = World::closed().await;
    world.deliver_everything().await;
    let root = world.documents_dir();
    let before = contents(&root);
    std::fs::remove_file(root.join(&files_below(&root)[0])).unwrap();

    let documents = Documents::in_folder(&root).unwrap();
    for draft in drafts(&world, &documents).await {
        assert!(matches!(documents.act(&draft).await, Act::Answer(_)));
    }

    assert_eq!(contents(&root), before);
    assert_eq!(world.ask(OF_STATES).await, "written 66");
}

#[tokio::test]
async fn rivals_that_write_at_once_leave_whole_files() {
    let world = World::closed().await;
    let documents = Documents::in_folder(&world.documents_dir()).unwrap();
    let (zombie, owner) = (
        drafts(&world, &documents).await,
        drafts(&world, &documents).await,
    );

    for (one, other) in zombie.iter().zip(&owner) {
        // The zombie may lose its unfinished file to the owner, and then fails; either is fine.
        let (_, written) = tokio::join!(documents.act(one), documents.act(other));
        assert!(matches!(written, Act::Answer(_)));
    }

    let after_rivals = contents(&world.documents_dir());
    world.deliver_everything().await;
    assert_eq!(contents(&world.documents_dir()), after_rivals);
    assert_eq!(after_rivals.len(), 66);
}

#[tokio::test]
async fn documents_wait_for_their_folder_and_none_is_given_up() {
    let world = World::closed().await;
    let running = world.start(|| std::fs::remove_dir(world.documents_dir()).unwrap());
    let patience = Duration::from_secs(60);
    until("the documents to be intended", patience, async || {
        world
            .ask(OF_STATES)
            .await
            .starts_with("intended")
            .then_some(())
    })
    .await
    .unwrap();

    std::fs::create_dir(world.documents_dir()).unwrap();
    until("the documents to be written", patience, async || {
        (world.ask(OF_STATES).await == "written 66").then_some(())
    })
    .await
    .unwrap();

    running.stop().await;
    let attempts = "select coalesce(max(attempt), 0)::text from outbox.delivery";
    assert_eq!(world.ask(attempts).await, "0");
    assert_eq!(files_below(&world.documents_dir()).len(), 66);
}

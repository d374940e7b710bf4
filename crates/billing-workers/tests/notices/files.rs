//! One file per notice, whatever happens on the way.

use std::path::{Path, PathBuf};

use billing_workers::{Counting, EmlFolder, Notices};
use outbox::{Act, External as _, Load};

use crate::world::{World, sender};

const INVOICE: &str = "invoice.finalized";

fn files_below(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            files.push(path);
        }
    }
    files
}

fn folder_of(root: &Path) -> Notices<EmlFolder> {
    Notices::new(EmlFolder::create(root).unwrap(), sender())
}

#[tokio::test]
async fn a_sender_killed_before_its_record_leaves_one_file_with_one_message_id() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let root = tempfile::tempdir().unwrap();
    let killed = folder_of(root.path());
    let mut loads = world.load(&killed, INVOICE).await;
    let Some(Load::Call(mail)) = loads.pop() else {
        panic!("nothing is sent");
    };
    assert!(matches!(killed.act(&mail).await, Act::Answer(_)));
    let before = std::fs::read(&files_below(root.path())[0]).unwrap();
    assert_eq!(world.told(account).await, ["invoice intended"]);

    let successor = folder_of(root.path());
    assert_eq!(world.deliver(&successor, INVOICE).await, ["Sent"]);

    let files = files_below(root.path());
    assert_eq!(files.len(), 1, "{files:?}");
    assert_eq!(std::fs::read(&files[0]).unwrap(), before);
    assert_eq!(world.told(account).await, ["invoice sent"]);
    let text = String::from_utf8(before).unwrap();
    let id = &world.notices(account, None).await[0];
    assert_eq!(id.message_id, format!("<{}@example.com>", id.notice_id));
    assert!(
        text.contains(&format!("Message-ID: {}\r\n", id.message_id)),
        "{text}"
    );
    assert!(files[0].ends_with(format!("{}.eml", id.notice_id)));
    // The control: without its row the mail would be another one, and lie beside the first.
    sqlx::query("delete from billing.notice")
        .execute(world.outbox.pool())
        .await
        .unwrap();
    world.deliver(&successor, INVOICE).await;
    assert_eq!(files_below(root.path()).len(), 2);
}

#[tokio::test]
async fn a_folder_that_is_gone_stops_all_mail_and_gives_none_up() {
    let (world, account) = World::with_customer("Ada", "10.00").await;
    let root = tempfile::tempdir().unwrap();
    let mail = root.path().join("mail");
    let notices = folder_of(&mail);
    std::fs::remove_dir(&mail).unwrap();

    let done = world.deliver(&notices, INVOICE).await;

    assert!(done[0].starts_with("Unavailable"), "{done:?}");
    assert!(done[0].contains("is the mail folder there"), "{done:?}");
    std::fs::create_dir(&mail).unwrap();
    assert_eq!(world.deliver(&notices, INVOICE).await, ["Sent"]);
    assert_eq!(world.told(account).await, ["invoice sent"]);
}

#[tokio::test]
async fn mails_can_be_counted_without_being_sent() {
    let (world, _) = World::with_customer("Ada", "10.00").await;
    let counting = Counting::default();

    let notices = Notices::new(counting.clone(), sender());
    world.deliver(&notices, INVOICE).await;

    assert_eq!(counting.count(), 1);
}

//! Promise: a documents' folder that is full or gone costs nothing but time: nobody gives up, the
//! figures go on, and what is missing is written once there is room.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::Command;

use serde_json::json;

use crate::scene::{CONSUMERS, Charge, Scene, THE_END};

const ACCOUNTS: i64 = 60;
const WRITTEN: &str = "select count(*) from billing.document where state = 'written'";
const COUNTED: &str = "select sum(invoices) from billing.collection_figure";
const TROUBLE: &str = "is the documents' folder there, writable and not full?";

fn usage(scene: &Scene) -> String {
    let charge = |n| Charge::new((n, "2024-09"), n, ("vm", "0.25"), n + 1);
    scene.usage("usage.csv", &(0..ACCOUNTS).map(charge).collect::<Vec<_>>())
}

/// Nobody is given up, and the consumer that needs no disk has done its work.
async fn expect_patience(scene: &Scene) {
    scene.until_at_least(ACCOUNTS, COUNTED).await;
    assert_eq!(scene.count("select count(*) from outbox.delivery").await, 0);
    assert!(scene.count(WRITTEN).await < ACCOUNTS);
}

fn expect_every_document(scene: &Scene) {
    let mut documents = scene.documents();
    documents.retain(|path| path.extension().is_some_and(|kind| kind == "html"));
    assert_eq!(documents.len(), usize::try_from(ACCOUNTS).unwrap());
}

/// A disk of 256 KiB, full to the last byte. Only root may mount one.
struct FullDisk(PathBuf);

impl FullDisk {
    fn mount(folder: PathBuf) -> Option<Self> {
        fs::create_dir_all(&folder).unwrap();
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(&folder);
        let mounted = mount.output().is_ok_and(|mounted| mounted.status.success());
        let disk = mounted.then(|| Self(folder))?;
        let mut filler = File::create(disk.0.join("filler")).unwrap();
        while filler.write_all(&[0; 64]).is_ok() {}
        Some(disk)
    }

    fn make_room(&self) {
        let mut remount = Command::new("mount");
        remount.args(["-o", "remount,size=64m"]).arg(&self.0);
        assert!(remount.status().unwrap().success());
    }
}

impl Drop for FullDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(unmounted.unwrap().success() || std::thread::panicking());
    }
}

#[tokio::test]
async fn a_close_waits_for_room_on_a_full_disk_and_says_so() {
    let scene = Scene::open().await;
    let Some(disk) = FullDisk::mount(scene.data_dir().join("documents")) else {
        println!("This user may not mount a disk: only the tests of a folder that is gone ran.");
        return;
    };
    let close = scene
        .month_close(&format!("--usage {} --json", usage(&scene)))
        .start();

    close.has_said("No space left on device").await;
    close.has_said(TROUBLE).await;
    expect_patience(&scene).await;
    disk.make_room();

    let closed = close.ended().await.exits(0).json();
    assert_eq!(
        (&closed["events"]["handled"], &closed["events"]["dead"]),
        (&json!(CONSUMERS * 60 + THE_END), &json!(0))
    );
    expect_every_document(&scene);
}

#[tokio::test]
async fn a_relay_recovers_by_itself_when_the_folder_is_back() {
    let scene = Scene::open().await;
    let folder = scene.data_dir().join("documents");
    let relay = scene.relay("").start();
    scene
        .until_at_least(3, "select count(distinct consumer) from outbox.member")
        .await;
    fs::rename(&folder, folder.with_file_name("unmounted")).unwrap();

    scene
        .close(&format!("--usage {} --no-workers", usage(&scene)))
        .await;
    relay.has_said(TROUBLE).await;
    expect_patience(&scene).await;
    assert!(
        !folder.exists(),
        "documents would land below the missing mount"
    );
    fs::rename(folder.with_file_name("unmounted"), &folder).unwrap();

    scene.until_at_least(ACCOUNTS, WRITTEN).await;
    expect_every_document(&scene);
    relay.stop().await.exits(0);
}

#[tokio::test]
async fn a_folder_that_cannot_be_made_ends_the_close_and_the_next_run_goes_on() {
    let scene = Scene::open().await;
    let folder = scene.data_dir().join("documents");
    fs::create_dir_all(scene.data_dir()).unwrap();
    fs::write(&folder, "a file where the folder should be").unwrap();

    let ended = scene
        .month_close(&format!("--usage {}", usage(&scene)))
        .run()
        .await
        .exits(1);
    ended.says(&[folder.to_str().unwrap(), TROUBLE]);
    assert_eq!(
        scene.count("select count(*) from billing.invoice").await,
        ACCOUNTS
    );
    fs::remove_file(&folder).unwrap();

    scene.close("").await;
    expect_every_document(&scene);
}

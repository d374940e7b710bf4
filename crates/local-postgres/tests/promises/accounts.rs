//! Who runs the server, and where that account can reach.
//!
//! Run by root these tests see the server step down; run by anyone else they see it run as that
//! user, who is also the owner of the closed folder.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::scene::{Neighbour, Scene, ask, is_root, open_to_all, until};

/// `CAP_DAC_READ_SEARCH`, as a line of `/proc/<pid>/status`.
const READ_AND_SEARCH: &str = "0000000000000004";
const NOTHING: &str = "0000000000000000";

const NOBODY: u32 = 65534;

#[test]
fn the_server_never_runs_as_root_and_owns_its_folder() {
    let scene = Scene::new();
    let _postgres = scene.start();

    let uid = server_line(&scene, "Uid:");
    let owner = fs::metadata(scene.home()).unwrap().uid().to_string();
    assert_eq!(uid, owner);
    assert_ne!(uid, "0");
    assert_eq!(server_line(&scene, "CapEff:"), NOTHING);
}

#[tokio::test]
async fn a_closed_parent_does_not_keep_the_server_out() {
    let scene = Scene::new();
    fs::set_permissions(scene.folder.path(), Permissions::from_mode(0o700)).unwrap();

    let postgres = scene.start();

    assert_eq!(ask(&postgres.url(), "select 'here'").await, "here");
    let expected = if is_root() { READ_AND_SEARCH } else { NOTHING };
    assert_eq!(server_line(&scene, "CapEff:"), expected);
    assert_eq!(without_the_key_it_could_enter(&scene), !is_root());
    postgres.stop().unwrap();
    assert!(scene.server().is_none());
}

/// Tries the server's folder as the server's account, with no capability.
fn without_the_key_it_could_enter(scene: &Scene) -> bool {
    let home = fs::metadata(scene.home()).unwrap();
    let mut look = Command::new("ls");
    look.arg(scene.home()).uid(home.uid()).gid(home.gid());
    look.output().unwrap().status.success()
}

#[tokio::test]
async fn an_ordinary_user_runs_the_server_themselves() {
    let scene = Scene::new();
    // A copy, since the build folder may be closed to others.
    let program = scene.folder.path().join("local-postgres");
    fs::copy(env!("CARGO_BIN_EXE_local-postgres"), &program).unwrap();
    open_to_all(&program);
    fs::create_dir(&scene.data_dir).unwrap();
    let mut command = Command::new(program);
    command.arg(&scene.data_dir).env_remove("XDG_RUNTIME_DIR");
    if is_root() {
        chown(&scene.data_dir, Some(NOBODY), Some(NOBODY)).unwrap();
        command.uid(NOBODY).gid(NOBODY);
    }

    let mut user = Neighbour::run(&mut command, &scene.folder);
    let url = user.url();

    assert_eq!(ask(&url, "select 'here'").await, "here");
    let owner = fs::metadata(&scene.data_dir).unwrap().uid().to_string();
    assert_eq!(server_line(&scene, "Uid:"), owner);
    user.leave();
    until("the server has stopped", || scene.server().is_none());
}

/// The first value of a line of the server's `/proc/<pid>/status`.
fn server_line(scene: &Scene, name: &str) -> String {
    let pid = scene.server().unwrap().as_raw_nonzero();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().split_whitespace().next().unwrap().to_owned()
}

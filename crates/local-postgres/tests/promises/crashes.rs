//! Whatever is killed, the next start finds its way.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::process::Command;

use sqlx::Connection as _;

use crate::scene::{Neighbour, Scene, ask, tell, until};

#[tokio::test]
async fn the_server_outlives_a_killed_holder_and_the_next_one_joins_it() {
    let scene = Scene::new();
    let mut holder = Neighbour::of(&scene);
    holder.url();
    let server = scene.server();

    holder.kill();

    assert!(server.is_some());
    assert_eq!(scene.server(), server);
    let postgres = scene.start();
    assert_eq!(scene.server(), server);
    assert_eq!(ask(&postgres.url(), "select 'here'").await, "here");
    postgres.stop().unwrap();
    assert_eq!(scene.server(), None);
}

#[test]
fn ctrl_c_in_the_terminal_does_not_reach_the_server() {
    let scene = Scene::new();
    let mut holder = Neighbour::of(&scene);
    holder.url();
    let server = scene.server().unwrap();

    holder.interrupt_its_group();

    assert_eq!(scene.server(), Some(server));
    let session = rustix::process::getsid(Some(server)).unwrap();
    assert_eq!(session, server);
    scene.start().stop().unwrap();
}

#[tokio::test]
async fn a_killed_server_comes_back_with_all_that_was_committed() {
    let scene = Scene::new();
    let holder = scene.start();
    tell(&holder.url(), "create table paid as select 'yes' as answer").await;

    scene.kill_server();
    let next = scene.start();

    assert_eq!(ask(&next.url(), "select answer from paid").await, "yes");
    next.stop().unwrap();
    assert!(scene.server().is_some());
    holder.stop().unwrap();
    assert!(scene.server().is_none());
}

#[tokio::test]
async fn a_killed_server_is_brought_up_again_by_one_of_those_who_watch_it() {
    let scene = Scene::new();
    let watchers = [scene.start().watched(), scene.start().watched()];
    let url = watchers[0].url();
    tell(&url, "create table paid as select 'yes' as answer").await;
    let killed = scene.server();

    scene.kill_server();
    until("another server is there", || {
        scene.server().is_some_and(|server| Some(server) != killed)
    });
    let brought = scene.server();
    let neighbour = scene.start();

    assert_eq!(neighbour.url(), url);
    assert_eq!(ask(&url, "select answer from paid").await, "yes");
    assert_eq!(scene.server(), brought, "it was started once");
    neighbour.stop().unwrap();
    for watcher in watchers {
        watcher.stop().unwrap();
    }
    assert!(scene.server().is_none(), "whoever left watches no more");
}

#[tokio::test]
async fn who_joins_makes_the_database_that_a_killed_starter_did_not() {
    let scene = Scene::new();
    let starter = scene.start();
    tell(&starter.url_of("postgres"), "drop database billing").await;

    // The control: who sees the mark believes it.
    let naive = scene.start();
    let refused = sqlx::PgConnection::connect(&naive.url()).await;
    fs::remove_file(scene.data_dir.join("postgres.ready")).unwrap();
    let next = scene.start();

    assert!(refused.unwrap_err().to_string().contains("does not exist"));
    assert_eq!(ask(&next.url(), "select 'here'").await, "here");
    for holder in [naive, next, starter] {
        holder.stop().unwrap();
    }
    assert!(scene.server().is_none());
}

#[tokio::test]
async fn a_start_waits_for_the_children_of_a_killed_server() {
    let scene = Scene::new();
    let holder = scene.start();
    // A child that computes does not look up to see that its server is gone.
    let busy = tokio::spawn(compute(holder.url()));
    let is_busy = "select count(*)::text from pg_stat_activity where query like '% as busy from%'
        and pid <> pg_backend_pid()";
    while ask(&holder.url(), is_busy).await != "1" {
        tokio::task::yield_now().await;
    }

    scene.kill_server();
    scene.rename_server_in_pidfile(999_999_999);
    let naive = scene.start_without_care();
    let next = scene.start();

    assert!(naive.contains("shared memory block"), "{naive}");
    assert_eq!(ask(&next.url(), "select 'here'").await, "here");
    busy.abort();
}

/// The answer does not matter: the child may get it out or not.
async fn compute(url: String) -> bool {
    let mut connection = crate::scene::connect(&url).await;
    let work = "select count(*) as busy from generate_series(1, 6000000) n where n % 7 = 3";
    sqlx::raw_sql(work).execute(&mut connection).await.is_ok()
}

#[test]
fn a_creation_that_was_killed_in_the_middle_is_done_again() {
    let scene = Scene::new();
    let unfinished = scene.home().join("cluster.new");
    let creator = Neighbour::of(&scene);
    until("the creation is under way", || {
        unfinished.join("base").exists()
    });

    creator.kill();
    assert!(unfinished.exists());
    assert!(!scene.home().join("cluster").exists());
    let postgres = scene.start();

    assert!(scene.server().is_some());
    assert!(!unfinished.exists());
    postgres.stop().unwrap();
}

#[test]
fn without_the_temporary_name_half_a_cluster_is_taken_for_a_whole_one() {
    let scene = Scene::new();
    scene.start().stop().unwrap();
    // As `initdb` leaves it when it is killed late: almost everything is there.
    fs::remove_dir_all(scene.home().join("cluster/global")).unwrap();

    assert!(scene.refusal().contains("does not start"));
}

#[test]
fn a_stranger_with_the_servers_old_number_does_not_prevent_a_start() {
    let scene = Scene::new();
    let holder = scene.start();
    scene.kill_server();
    let home = fs::metadata(scene.home()).unwrap();
    let mut stranger = Command::new("sleep");
    stranger.arg("600").uid(home.uid()).gid(home.gid());
    let mut stranger = stranger.spawn().unwrap();
    scene.rename_server_in_pidfile(stranger.id());

    let naive = scene.start_without_care();
    let next = scene.start();

    assert!(
        naive.contains("\"postmaster.pid\" already exists"),
        "{naive}"
    );
    assert!(scene.server().is_some());
    stranger.kill().unwrap();
    stranger.wait().unwrap();
    next.stop().unwrap();
    holder.stop().unwrap();
}

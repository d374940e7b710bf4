//! Many processes, one server: the first starts it, the last stops it.

use std::fs::{self, File};

use local_postgres::LocalPostgres;

use crate::scene::{Neighbour, Scene, ask};

#[test]
fn the_last_one_out_stops_the_server() {
    let scene = Scene::new();
    let first = scene.start();
    let second = scene.start();

    first.stop().unwrap();
    assert!(scene.server().is_some());
    let socket_folder = fs::read_to_string(scene.pidfile()).unwrap();
    let socket_folder = socket_folder.lines().nth(4).unwrap();
    second.stop().unwrap();

    assert!(scene.server().is_none());
    assert!(!fs::exists(socket_folder).unwrap());
}

#[test]
fn dropping_it_is_leaving() {
    let scene = Scene::new();

    drop(scene.start());

    assert!(scene.server().is_none());
}

#[test]
fn without_the_holders_lock_the_server_is_stopped_under_a_neighbour() {
    let scene = Scene::new();
    let neighbour = scene.start();

    fs::remove_file(scene.data_dir.join("postgres.holders")).unwrap();
    scene.start().stop().unwrap();

    assert!(scene.server().is_none());
    neighbour.stop().unwrap();
}

#[tokio::test]
async fn two_at_once_get_one_server() {
    share_one_server(2).await;
}

#[tokio::test]
async fn four_at_once_get_one_server() {
    share_one_server(4).await;
}

async fn share_one_server(count: usize) {
    let scene = Scene::new();
    let mut neighbours: Vec<_> = (0..count).map(|_| Neighbour::of(&scene)).collect();

    let mut births = Vec::new();
    for neighbour in &mut neighbours {
        let birth = "select pg_postmaster_start_time()::text";
        births.push(ask(&neighbour.url(), birth).await);
    }
    births.dedup();

    assert_eq!(births.len(), 1);
    for neighbour in neighbours {
        assert!(scene.server().is_some());
        neighbour.leave();
    }
    assert!(scene.server().is_none());
}

#[test]
fn comers_and_goers_never_find_a_server_that_is_about_to_stop() {
    let scene = Scene::new();
    scene.start().stop().unwrap();

    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| (0..4).for_each(|_| come_and_go(&scene)));
        }
    });

    assert!(scene.server().is_none());
}

fn come_and_go(scene: &Scene) {
    let postgres = LocalPostgres::start(&scene.data_dir).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_all().build().unwrap();
    assert_eq!(
        runtime.block_on(ask(&postgres.url(), "select 'here'")),
        "here"
    );
    postgres.stop().unwrap();
}

#[test]
fn a_newcomer_waits_for_the_one_who_is_creating_the_cluster() {
    let scene = Scene::new();
    let (gate, work) = start_creating(&scene);

    let mut newcomer = Neighbour::of(&scene);
    newcomer.says("Waiting for a neighbour");

    assert!(work.exists());
    drop(gate);
    newcomer.url();
    assert!(!work.exists());
    newcomer.leave();
}

#[test]
fn without_the_gate_a_newcomer_destroys_the_work_of_the_one_who_is_creating() {
    let scene = Scene::new();
    let (_gate, work) = start_creating(&scene);

    fs::remove_file(scene.data_dir.join("postgres.gate")).unwrap();
    let mut newcomer = Neighbour::of(&scene);
    newcomer.url();

    assert!(!work.exists());
    newcomer.leave();
}

/// Stands inside the gate with a half-made cluster.
fn start_creating(scene: &Scene) -> (File, std::path::PathBuf) {
    let unfinished = scene.home().join("cluster.new");
    fs::create_dir_all(&unfinished).unwrap();
    let work = unfinished.join("work");
    fs::write(&work, "half").unwrap();
    let gate = File::create(scene.data_dir.join("postgres.gate")).unwrap();
    gate.lock().unwrap();
    (gate, work)
}

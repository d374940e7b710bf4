//! The cluster is durable, private and ready to be used through its URL.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::scene::{Scene, ask, tell};

#[tokio::test]
async fn the_settings_are_durable_and_nothing_listens_on_the_network() {
    let scene = Scene::new();
    let postgres = scene.start();
    let settings = "select string_agg(name || '=' || setting, ' ' order by lower(name))
        from pg_settings
        where name in ('fsync', 'full_page_writes', 'synchronous_commit', 'data_checksums',
                       'listen_addresses', 'jit', 'TimeZone')";

    assert_eq!(
        ask(&postgres.url(), "select current_setting('fsync')").await,
        "on"
    );
    assert_eq!(
        ask(&postgres.url(), settings).await,
        "data_checksums=on fsync=on full_page_writes=on jit=off listen_addresses= \
         synchronous_commit=on TimeZone=UTC"
    );
}

#[tokio::test]
async fn the_role_of_the_url_owns_its_database_and_is_no_superuser() {
    let scene = Scene::new();
    let postgres = scene.start();

    tell(&postgres.url(), "create database another").await;
    tell(&postgres.url_of("another"), "create table t (id int)").await;

    let is_superuser = "select current_user || ' ' || current_setting('is_superuser')";
    assert_eq!(ask(&postgres.url(), is_superuser).await, "billing off");
}

#[tokio::test]
async fn a_wrong_password_is_refused() {
    let scene = Scene::new();
    let postgres = scene.start();
    let (before, after) = postgres.url().split_once('@').map(own).unwrap();

    let wrong = format!("{before}0@{after}");
    let none = format!("postgres://billing@{after}");

    for url in [wrong, none] {
        let refusal = <sqlx::PgConnection as sqlx::Connection>::connect(&url).await;
        assert!(refusal.unwrap_err().to_string().contains("password"));
    }
}

fn own((before, after): (&str, &str)) -> (String, String) {
    (before.to_owned(), after.to_owned())
}

#[tokio::test]
async fn passwords_and_files_are_for_their_owner_alone() {
    let scene = Scene::new();
    let _postgres = scene.start();

    let modes = [
        ("postgres.password", 0o600),
        ("postgres-admin.password", 0o600),
        ("postgres", 0o700),
        ("postgres/cluster", 0o700),
        ("postgres/log", 0o700),
    ];
    for (name, mode) in modes {
        let found = fs::metadata(scene.data_dir.join(name)).unwrap();
        assert_eq!(found.permissions().mode() & 0o777, mode, "{name}");
    }
}

#[tokio::test]
async fn a_long_data_directory_with_odd_characters_works() {
    let long = format!("it's \"$HOME\" `x`, 100% \\ {}/{0}", "l".repeat(120));
    let scene = Scene::named(&long);
    assert!(scene.data_dir.as_os_str().len() > 200);

    let postgres = scene.start();

    assert_eq!(ask(&postgres.url(), "select 'here'").await, "here");
    // Why the socket lies elsewhere: the kernel refuses to have it here.
    let socket = scene.data_dir.join(".s.PGSQL.5432");
    assert!(std::os::unix::net::UnixListener::bind(socket).is_err());
}

#[tokio::test]
async fn a_dropped_database_is_there_again_after_the_next_start() {
    let scene = Scene::new();
    let postgres = scene.start();
    tell(&postgres.url_of("postgres"), "drop database billing").await;
    postgres.stop().unwrap();

    let postgres = scene.start();

    let name = ask(&postgres.url(), "select current_database()::text").await;
    assert_eq!(name, "billing");
}

#[test]
fn a_server_that_does_not_start_shows_the_end_of_its_log() {
    let scene = Scene::new();
    scene.start().stop().unwrap();
    let settings = scene.home().join("cluster/postgresql.auto.conf");
    fs::write(settings, "nonsense = 1\n").unwrap();

    let refusal = scene.refusal();

    let expected = "unrecognized configuration parameter \"nonsense\"";
    assert!(refusal.contains(expected), "{refusal}");
}

//! A server that can lose an acknowledged commit is refused, with the statement that mends it.

use outbox::refuse_unsafe_server;
use sqlx::PgPool;

use crate::scene::Scene;

async fn refusal(pool: &PgPool) -> String {
    refuse_unsafe_server(pool).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_durable_server_is_accepted() {
    let scene = Scene::new().await;

    refuse_unsafe_server(&scene.pool).await.unwrap();
}

#[tokio::test]
async fn a_session_that_does_not_wait_for_the_disk_is_refused() {
    let scene = Scene::new().await;
    let pool = scene
        .pool_with(|with| with.options([("synchronous_commit", "off")]))
        .await;

    let refusal = refusal(&pool).await;

    assert!(refusal.contains("synchronous_commit = off"), "{refusal}");
    assert!(
        refusal.contains("alter system set synchronous_commit = on"),
        "{refusal}"
    );
}

/// The setting is the server's; a view before the catalog tells of another server.
#[tokio::test]
async fn a_server_without_fsync_or_full_pages_is_refused() {
    let scene = Scene::new().await;
    for (setting, view) in [
        (
            "fsync",
            "create schema a; create view a.pg_settings as
            select name, case name when 'fsync' then 'off' else setting end as setting
            from pg_catalog.pg_settings",
        ),
        (
            "full_page_writes",
            "create schema b; create view b.pg_settings as
            select name, case name when 'full_page_writes' then 'off' else setting end as setting
            from pg_catalog.pg_settings",
        ),
    ] {
        sqlx::raw_sql(view).execute(&scene.pool).await.unwrap();
        let path = if setting == "fsync" {
            "a,pg_catalog"
        } else {
            "b,pg_catalog"
        };
        let pool = scene
            .pool_with(|with| with.options([("search_path", path)]))
            .await;

        let refusal = refusal(&pool).await;

        assert!(refusal.contains(&format!("{setting} = off")), "{refusal}");
        assert!(
            refusal.contains("an acknowledged commit could be lost"),
            "{refusal}"
        );
    }
}

#[tokio::test]
async fn ids_handed_out_in_blocks_are_refused() {
    let scene = Scene::new().await;
    scene.sql("alter sequence outbox.event_id cache 20").await;

    let refusal = refusal(&scene.pool).await;

    assert!(refusal.contains("CACHE 20"), "{refusal}");
    assert!(
        refusal.contains("alter sequence outbox.event_id cache 1"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_server_that_takes_no_writes_is_refused() {
    let scene = Scene::new().await;
    let pool = scene
        .pool_with(|with| with.options([("default_transaction_read_only", "on")]))
        .await;

    let refusal = refusal(&pool).await;

    assert!(refusal.contains("Connect to the primary"), "{refusal}");
}

#[tokio::test]
async fn another_isolation_than_read_committed_is_refused() {
    let scene = Scene::new().await;
    let pool = scene
        .pool_with(|with| with.options([("default_transaction_isolation", "serializable")]))
        .await;

    let refusal = refusal(&pool).await;

    assert!(
        refusal.contains("transactions are serializable"),
        "{refusal}"
    );
}

#[tokio::test]
async fn a_schema_of_another_version_is_refused_from_both_sides() {
    let scene = Scene::new().await;
    scene
        .sql("update outbox.migration set version = 9999 where version = 12")
        .await;
    let newer = refusal(&scene.pool).await;
    scene
        .sql("delete from outbox.migration where version = 9999")
        .await;

    let older = refusal(&scene.pool).await;

    assert!(newer.contains("migration 9999"), "{newer}");
    assert!(
        newer.contains("deploy the version that migrated it"),
        "{newer}"
    );
    assert!(
        older.contains("migration 12") && older.contains("migrate first"),
        "{older}"
    );
}

//! Restore: a log in another cluster is refused until its numbers are closed, and then loses and
//! repeats nothing. A log that went back with its cluster goes on.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use local_postgres::LocalPostgres;
use outbox::{Cut, GuardError, Origin, Outbox, Relay, RestoreError, rebase, refuse_unsafe_server};
use sqlx::PgPool;
use testkit::Server;
use uuid::Uuid;

use crate::host::Host;
use crate::scene::{Scene, by, impatient, keys, pool, until};
use crate::shop::Notebook;

/// Restores a dump of the scene's database into a cluster of its own.
fn restored(scene: &Scene) -> Server {
    let server = Server::start(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut dump = Command::new("pg_dump")
        .args(["--no-owner", "--dbname", scene.url()])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let restore = Command::new("psql")
        .args(["--quiet", "--no-psqlrc", "--set", "ON_ERROR_STOP=1"])
        .args(["--dbname", &server.url()])
        .stdin(dump.stdout.take().unwrap())
        .stdout(Stdio::null())
        .output()
        .unwrap();
    succeeded(&restore);
    assert!(dump.wait().unwrap().success());
    server
}

fn succeeded(output: &Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// A life before the dump: some events handled, some published, some only committed, and one
/// committed later than its neighbours.
async fn a_life(scene: &Scene) -> Vec<Uuid> {
    let notebook = Notebook::of("notebook");
    let worker = Host::worker(scene, "worker", |w| {
        w.transactional(impatient("notebook", 1), notebook);
    })
    .await;
    let mut events = scene.orders(&keys(20), Origin::of("customer")).await;
    scene.publish().await;
    scene.until_handled("notebook", 20).await;
    worker.stop().await;
    let mut straggler = scene.outbox.begin(Origin::of("customer")).await.unwrap();
    sqlx::query("select pg_current_xact_id()")
        .execute(&mut *straggler)
        .await
        .unwrap();
    events.extend(scene.orders(&keys(5), Origin::of("customer").bulk()).await);
    scene.publish().await;
    let locked = straggler.locked(keys(1)[0]);
    events.push(straggler.append(locked, crate::scene::placed()));
    straggler.commit().await.unwrap();
    events.extend(scene.orders(&keys(4), Origin::of("customer")).await);
    events
}

struct Second {
    pool: PgPool,
    outbox: Outbox,
    _server: Server,
}

impl Second {
    async fn of(scene: &Scene) -> Self {
        let server = restored(scene);
        let pool = pool(&server.url(), "second", 5).await;
        let outbox = Outbox::new(pool.clone());
        Self {
            pool,
            outbox,
            _server: server,
        }
    }

    async fn order(&self) -> Uuid {
        let mut tx = self.outbox.begin(Origin::of("customer")).await.unwrap();
        let locked = tx.locked(keys(1)[0]);
        let event = tx.append(locked, crate::scene::placed());
        tx.commit().await.unwrap();
        event
    }

    async fn publish(&self) {
        let relay = Relay::new(self.outbox.clone());
        while relay.cut().await.unwrap() != Cut::Nothing {}
    }

    async fn handled(&self) -> Vec<Uuid> {
        sqlx::query_scalar("select event_id from shop.handled order by n")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Runs a worker until so many events are handled, and some more if it would handle more.
    async fn work(&self, number: usize) {
        let mut worker = outbox::Worker::new(self.outbox.clone(), outbox::WorkerConfig::default());
        worker.transactional(impatient("notebook", 1), Notebook::of("notebook"));
        let shutdown = tokio_util::sync::CancellationToken::new();
        let running = tokio::spawn(worker.run(shutdown.clone()));
        until("the restored log is handled", async || {
            self.handled().await.len() >= number
        })
        .await;
        until("nothing is left", async || {
            let backlog = outbox::backlog(&self.pool, "notebook").await.unwrap();
            backlog == outbox::Backlog::default()
        })
        .await;
        shutdown.cancel();
        running.await.unwrap().unwrap();
    }
}

fn sorted(mut events: Vec<Uuid>) -> Vec<Uuid> {
    events.sort();
    events
}

#[tokio::test]
async fn a_dump_in_another_cluster_is_refused_until_a_rebase_and_then_handled_once() {
    let scene = Scene::new().await;
    let mut events = a_life(&scene).await;
    let second = Second::of(&scene).await;

    let refused = refuse_unsafe_server(&second.pool).await.unwrap_err();
    assert!(
        matches!(
            refused,
            GuardError::Restored(RestoreError::OtherCluster { .. })
        ),
        "{refused}"
    );
    assert!(
        refused.to_string().contains("outbox-relay rebase"),
        "{refused}"
    );
    // A program that did not ask has appended here already.
    events.push(second.order().await);

    let rebased = rebase(&second.pool, &by()).await.unwrap();
    assert_eq!(
        rebased.events, 6,
        "a straggler, four behind it, and the hasty one"
    );
    refuse_unsafe_server(&second.pool).await.unwrap();
    for _ in 0..3 {
        events.push(second.order().await);
        second.publish().await;
    }
    second.work(events.len()).await;
    assert_eq!(sorted(second.handled().await), sorted(events), "each once");
    let noted = "select changed from outbox.operation where verb = 'rebase'";
    let noted: i64 = sqlx::query_scalar(noted)
        .fetch_one(&second.pool)
        .await
        .unwrap();
    assert_eq!(noted, 6);
}

#[tokio::test]
async fn numbers_that_the_new_cluster_counts_again_meet_no_old_event() {
    let scene = Scene::new().await;
    let mut events = a_life(&scene).await;
    let second = Second::of(&scene).await;
    // Whichever of the two counted further: the old numbers lie just ahead of the new ones.
    let shift = "create temp table shift as
        select pg_snapshot_xmax(pg_current_snapshot())::text::bigint + 40
            - (select min(xid::text::bigint) from outbox.event) as by;
        update outbox.event set xid = (xid::text::bigint + by)::text::xid8 from shift;
        update outbox.tick set
            xid = (xid::text::bigint + by)::text::xid8,
            snapshot = concat(
                pg_snapshot_xmin(snapshot)::text::bigint + by, ':',
                pg_snapshot_xmax(snapshot)::text::bigint + by, ':',
                (select string_agg((open::text::bigint + by)::text, ',' order by open)
                    from pg_snapshot_xip(snapshot) as open)
            )::pg_snapshot
        from shift where n > 0";
    sqlx::raw_sql(shift).execute(&second.pool).await.unwrap();
    let refused = refuse_unsafe_server(&second.pool).await.unwrap_err();
    assert!(matches!(refused, GuardError::Restored(_)), "{refused}");
    let rebased = rebase(&second.pool, &by()).await.unwrap();
    assert_eq!(rebased.events, 5);
    for _ in 0..600 {
        events.push(second.order().await);
        if events.len() % 7 == 0 {
            second.publish().await;
        }
    }
    second.publish().await;
    second.work(events.len()).await;
    assert_eq!(sorted(second.handled().await), sorted(events), "each once");
}

/// Trusting the old numbers: what is appended in the new cluster is never seen.
#[tokio::test]
async fn naive_going_on_without_a_rebase_loses_what_comes() {
    let scene = Scene::new().await;
    // The shared server has counted further than a new one.
    sqlx::query("select count(*) from generate_series(1, 3000) where pg_current_xact_id() is null")
        .execute(&scene.pool)
        .await
        .unwrap();
    for _ in 0..1500 {
        scene.sql("select pg_current_xact_id()").await;
    }
    a_life(&scene).await;
    let second = Second::of(&scene).await;
    second.order().await;
    let relay = Relay::new(second.outbox.clone());
    assert_eq!(relay.cut().await.unwrap(), Cut::Nothing);
}

fn copy(from: &Path, to: &Path) {
    let copied = Command::new("cp")
        .arg("-a")
        .args([from, to])
        .output()
        .unwrap();
    succeeded(&copied);
}

async fn migrated(local: &LocalPostgres) -> PgPool {
    let pool = pool(&local.url(), "recovery", 5).await;
    outbox::migrate(&pool).await.unwrap();
    pool
}

async fn order(outbox: &Outbox) -> Uuid {
    let mut tx = outbox.begin(Origin::of("customer")).await.unwrap();
    let locked = tx.locked(keys(1)[0]);
    let event = tx.append(locked, crate::scene::placed());
    tx.commit().await.unwrap();
    event
}

/// Events of the log that are in a tick, and those that are not.
async fn published(pool: &PgPool) -> (i64, i64) {
    let counts = "select (select sum(events)::bigint from outbox.tick), count(*) from outbox.event";
    sqlx::query_as(counts).fetch_one(pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recovery_to_a_point_in_time_goes_on_with_what_it_has() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(
        folder.path(),
        std::os::unix::fs::PermissionsExt::from_mode(0o711),
    )
    .unwrap();
    let (first, second) = (folder.path().join("first"), folder.path().join("second"));
    let local = LocalPostgres::start(&first).unwrap();
    let pool = migrated(&local).await;
    let outbox = Outbox::new(pool.clone());
    order(&outbox).await;
    Relay::new(outbox.clone()).cut().await.unwrap();
    pool.close().await;
    local.stop().unwrap();
    copy(&first, &second);

    let local = LocalPostgres::start(&first).unwrap();
    let pool = migrated(&local).await;
    let outbox = Outbox::new(pool.clone());
    let relay = Relay::new(outbox.clone());
    order(&outbox).await;
    relay.cut().await.unwrap();
    order(&outbox).await;
    let point: String = sqlx::query_scalar("select pg_current_wal_flush_lsn()::text")
        .fetch_one(&pool)
        .await
        .unwrap();
    for _ in 0..3 {
        order(&outbox).await;
        relay.cut().await.unwrap();
    }
    pool.close().await;
    local.stop().unwrap();

    let (wal, cluster) = (
        first.join("postgres/cluster/pg_wal"),
        second.join("postgres/cluster"),
    );
    let mut settings = fs::read_to_string(cluster.join("postgresql.auto.conf")).unwrap();
    settings.push_str(&format!(
        "restore_command = 'cp \"{}\"/%f \"%p\"'\nrecovery_target_lsn = '{point}'\n\
        recovery_target_action = 'promote'\n",
        wal.display()
    ));
    fs::write(cluster.join("postgresql.auto.conf"), settings).unwrap();
    fs::write(cluster.join("recovery.signal"), "").unwrap();
    let local = LocalPostgres::start(&second).unwrap();
    let pool = migrated(&local).await;
    until("the recovery has ended", async || {
        let recovering = "select pg_is_in_recovery()";
        !sqlx::query_scalar::<_, bool>(recovering)
            .fetch_one(&pool)
            .await
            .unwrap()
    })
    .await;

    refuse_unsafe_server(&pool).await.unwrap();
    let timeline = "select timeline from outbox.origin";
    let timeline: i64 = sqlx::query_scalar(timeline).fetch_one(&pool).await.unwrap();
    assert_eq!(timeline, 2);
    assert_eq!(published(&pool).await, (2, 3), "as of that point");
    let outbox = Outbox::new(pool.clone());
    order(&outbox).await;
    while Relay::new(outbox.clone()).cut().await.unwrap() != Cut::Nothing {}
    assert_eq!(published(&pool).await, (4, 4));
    pool.close().await;
    local.stop().unwrap();
}

//! The keeper of a test's database: a thread that creates it and waits to drop it.
//!
//! A thread with a runtime of its own, because a database is dropped while its test's runtime is
//! blocked or unwinding. Its connection bears the database's name as long as the test lives: a
//! database whose name nobody bears belonged to a test that was killed.

use std::env;
use std::path::PathBuf;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, bail};
use local_postgres::LocalPostgres;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::runtime;
use tokio::sync::oneshot;

use crate::template::Template;

/// The cluster's folder in the target directory, which `cargo xtask test` holds, too.
const CLUSTER: &str = "test-postgres";

const POLL: Duration = Duration::from_millis(2);

/// Any fixed number: one test at a time looks for leftovers.
const SWEEP_LOCK: i64 = 0x0073_7765_6570;

/// How long the end of a test waits for its database to go; longer ones go in the background.
///
/// `drop database` waits for every client of the cluster that is just logging in, and such a client
/// may live in the very runtime that our waiting blocks. Postgres finishes the statement even if
/// this process ends first.
const FAREWELL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Keeper {
    /// Dropped when the test has ended.
    alive: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<Result<()>>>,
    /// Our share in the cluster. Not the thread's: one that never ends must not keep it up.
    _postgres: LocalPostgres,
}

/// What a keeper hands over when the database is there.
struct Ready {
    postgres: LocalPostgres,
    url: String,
}

impl Keeper {
    /// Starts a keeper and returns with the URL of the database that it created.
    pub(crate) async fn employ(
        template: Template,
        make: impl AsyncFnOnce(PgPool) -> Result<()> + Send + 'static,
    ) -> Result<(Self, String)> {
        let (tell, told) = oneshot::channel();
        let (alive, end) = oneshot::channel();
        let thread = thread::spawn(move || keep(&template, make, tell, end));
        let Ok(Ready { postgres, url }) = told.await else {
            // It ended before it was ready, and knows why.
            outcome(thread)?;
            bail!("the keeper of the test's database left without a word");
        };
        let keeper = Self {
            alive: Some(alive),
            thread: Some(thread),
            _postgres: postgres,
        };
        Ok((keeper, url))
    }

    /// Has the database dropped, and tells what went wrong unless it takes too long.
    fn dismiss(&mut self) -> Result<()> {
        drop(self.alive.take());
        let Some(thread) = self.thread.take() else {
            return Ok(());
        };
        let dismissed = Instant::now();
        while !thread.is_finished() {
            if dismissed.elapsed() > FAREWELL {
                return Ok(());
            }
            thread::sleep(POLL);
        }
        outcome(thread)
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let Err(err) = self.dismiss() else {
            return;
        };
        // A second panic would abort the run and hide the first.
        assert!(
            thread::panicking(),
            "the test's database could not be dropped: {err:#}"
        );
        eprintln!("The test's database could not be dropped: {err:#}");
    }
}

fn outcome(thread: JoinHandle<Result<()>>) -> Result<()> {
    let outcome = thread.join();
    outcome.unwrap_or_else(|_| Err(anyhow!("the keeper of the test's database panicked")))
}

fn keep(
    template: &Template,
    make: impl AsyncFnOnce(PgPool) -> Result<()>,
    tell: oneshot::Sender<Ready>,
    end: oneshot::Receiver<()>,
) -> Result<()> {
    let postgres = LocalPostgres::start(&cluster()?)?;
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut admin = PgConnection::connect(&postgres.url()).await?;
        sweep(&mut admin)
            .await
            .context("could not remove leftovers")?;
        let name = take_a_name(&mut admin).await?;
        template.copy(&mut admin, &postgres, &name, make).await?;
        let url = postgres.url_of(&name);
        // Comes back, with our share in the cluster, when the test is gone already.
        let unwanted = tell.send(Ready { postgres, url }).err();
        if unwanted.is_none() {
            end.await.unwrap_or(());
        }
        drop_database(&mut admin, &name).await?;
        admin.close().await?;
        Ok(())
    })
}

/// A name that no other test of this cluster ever had, borne by the connection from now on.
async fn take_a_name(admin: &mut PgConnection) -> Result<String> {
    let name: String = sqlx::query_scalar(
        "-- testkit: name
        select format('test_%s_%s', pid, (extract(epoch from backend_start) * 1000000)::bigint)
        from pg_stat_activity
        where pid = pg_backend_pid()",
    )
    .fetch_one(&mut *admin)
    .await?;
    sqlx::query("-- testkit: bear the name\nselect set_config('application_name', $1, false)")
        .bind(&name)
        .execute(admin)
        .await?;
    Ok(name)
}

/// Drops the databases of tests that were killed.
async fn sweep(admin: &mut PgConnection) -> Result<()> {
    let ours: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
        .bind(SWEEP_LOCK)
        .fetch_one(&mut *admin)
        .await?;
    if !ours {
        return Ok(());
    }
    let leftovers: Vec<String> = sqlx::query_scalar(
        r"-- testkit: leftovers
        select datname
        from pg_database
        where datname like 'test\_%'
          and not exists (
              select
              from pg_stat_activity as living
              where living.application_name = pg_database.datname
          )",
    )
    .fetch_all(&mut *admin)
    .await?;
    for name in leftovers {
        drop_database(admin, &name).await?;
    }
    sqlx::query("select pg_advisory_unlock($1)")
        .bind(SWEEP_LOCK)
        .execute(admin)
        .await?;
    Ok(())
}

/// How often a database is tried to be dropped while autovacuum is busy in it.
const DROPS: usize = 5;

/// Drops a database together with the connections to it.
///
/// FORCE may not end an autovacuum worker, which runs as the superuser, and then refuses. A plain
/// drop asks autovacuum to leave and waits some seconds, and refuses while others are connected.
pub(crate) async fn drop_database(admin: &mut PgConnection, name: &str) -> Result<()> {
    let forced = format!(r#"drop database if exists "{name}" with (force)"#);
    let plain = format!(r#"drop database if exists "{name}""#);
    for _ in 0..DROPS {
        if run(admin, forced.clone()).await.is_ok() || run(admin, plain.clone()).await.is_ok() {
            return Ok(());
        }
    }
    run(admin, forced).await
}

/// Runs a statement that takes names, which cannot be parameters. The names are ours.
pub(crate) async fn run(admin: &mut PgConnection, sql: String) -> Result<()> {
    let ran = sqlx::query(AssertSqlSafe(sql.clone())).execute(admin).await;
    ran.with_context(|| format!("could not {sql}"))?;
    Ok(())
}

fn cluster() -> Result<PathBuf> {
    let program = env::current_exe()?;
    // Cargo marks its target directory with this file.
    let target = program
        .ancestors()
        .find(|folder| folder.join("CACHEDIR.TAG").exists())
        .context("a test's program lies outside of Cargo's target directory")?;
    Ok(target.join(CLUSTER))
}

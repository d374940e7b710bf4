//! The site: the database and the data folder that every binary works with.
//!
//! With no database named, the site runs a private Postgres under its data folder. Opening it
//! brings the schemas up to date and refuses a server that could lose what it acknowledged.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use local_postgres::{LocalPostgres, StopError};
use outbox::{GuardError, Outbox};
use sqlx::migrate::MigrateError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection, PgPool};

mod error;
mod silence;
mod told;

pub use error::SiteError;
pub use silence::SilenceError;
pub use told::told;

/// Two lanes of each consumer, their deliveries, the relay and a command run side by side; beyond
/// that connections cost the server more than they bring.
const CONNECTIONS: u32 = 16;
/// A server that restarts is back within this time; who waits longer should hear about it.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection that was used so lately is taken without asking whether it still answers.
const KNOWN_GOOD: Duration = Duration::from_secs(1);
/// One that does not answer within this is dropped.
const ANSWERS_WITHIN: Duration = Duration::from_secs(5);

const SILENT_FOR: Duration = Duration::from_secs(60);

/// Where a site is.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// A server of one's own; the private one when absent.
    pub database_url: Option<String>,
    /// The folder of the private server and of what is written; created if it is not there.
    pub data_dir: PathBuf,
}

impl SiteConfig {
    /// An empty variable is how a compose file says "none".
    fn url(&self) -> Option<String> {
        self.database_url.clone().filter(|url| !url.is_empty())
    }

    fn refuse_absent(&self) -> Result<(), SiteError> {
        match self.url().is_some() || LocalPostgres::exists(&self.data_dir) {
            true => Ok(()),
            false => Err(SiteError::Absent(self.data_dir.clone())),
        }
    }
}

/// An open site.
#[derive(Debug)]
pub struct Site {
    outbox: Outbox,
    data_dir: PathBuf,
    database: String,
    options: PgConnectOptions,
    local: Option<LocalPostgres>,
}

impl Site {
    /// Connects, migrates, and checks the server: the guard looks at what the migrations made.
    ///
    /// # Errors
    /// [`SiteError`].
    pub async fn open(config: SiteConfig) -> Result<Self, SiteError> {
        let site = Self::connected(config).await?.migrated().await?;
        site.guard().await?;
        Ok(site)
    }

    /// Opens a site that is there: of a private server, one that was started before.
    ///
    /// # Errors
    /// As [`Self::open`], and [`SiteError::Absent`].
    pub async fn open_existing(config: SiteConfig) -> Result<Self, SiteError> {
        let site = Self::found(config).await?;
        site.guard().await?;
        Ok(site)
    }

    /// The same, though its log may be another cluster's, for what is done about that.
    ///
    /// # Errors
    /// As [`Self::open_existing`].
    pub async fn open_restored(config: SiteConfig) -> Result<Self, SiteError> {
        let site = Self::found(config).await?;
        match site.guard().await {
            Ok(())
            | Err(SiteError::Unsafe {
                source: GuardError::Restore(_),
                ..
            }) => Ok(site),
            Err(error) => Err(error),
        }
    }

    async fn found(config: SiteConfig) -> Result<Self, SiteError> {
        config.refuse_absent()?;
        let site = Self::connected(config).await?;
        match outbox::is_migrated(site.pool()).await {
            Ok(true) => site.migrated().await,
            Ok(false) => Err(SiteError::Empty(site.database)),
            Err(source) => Err(SiteError::Connect {
                database: site.database,
                source,
            }),
        }
    }

    /// It comes after the migrations: it looks at what they made.
    async fn guard(&self) -> Result<(), SiteError> {
        outbox::refuse_unsafe_server(self.pool())
            .await
            .map_err(|source| SiteError::Unsafe {
                database: self.database.clone(),
                source,
            })
    }

    async fn connected(config: SiteConfig) -> Result<Self, SiteError> {
        let (url, local) = match config.url() {
            Some(url) => (url, None),
            None => {
                let local = start(config.data_dir.clone()).await?;
                (local.url(), Some(local))
            }
        };
        // Without a scheme a URL is taken apart elsewhere, and its password could pass for a name.
        if !["postgres://", "postgresql://"]
            .iter()
            .any(|scheme| url.starts_with(scheme))
        {
            return Err(SiteError::Url(
                "it does not begin with postgres://".to_owned(),
            ));
        }
        let options = PgConnectOptions::from_str(&url);
        let options = options.map_err(|error| SiteError::Url(error.to_string()))?;
        let database = described(&options, local.is_some());
        // The server knows this program's sessions from those of others by their name.
        let name = format!("billing {}", outbox::ids::new().simple());
        let options = options.application_name(&name);
        let pool = connect(options.clone())
            .await
            .map_err(|source| SiteError::Connect {
                database: database.clone(),
                source,
            })?;
        Ok(Self {
            outbox: Outbox::new(pool),
            data_dir: config.data_dir,
            database,
            options,
            local,
        })
    }

    /// With its schemas brought up to date.
    async fn migrated(self) -> Result<Self, SiteError> {
        match billing::migrate(self.pool()).await {
            Ok(()) => Ok(self),
            Err(source) => Err(unmigrated(self.outbox.pool(), self.database, source).await),
        }
    }

    /// The log.
    #[must_use]
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// The pool, for reading.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        self.outbox.pool()
    }

    /// Waits for the error that the server was asked nothing for a minute, by a program that asks
    /// all the time: a network has swallowed what it waits for.
    pub async fn silence(&self) -> SilenceError {
        silence::of(self.options.clone(), SILENT_FOR).await
    }

    /// The data folder.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Where documents are written unless somebody chose another folder.
    #[must_use]
    pub fn documents_dir(&self) -> PathBuf {
        self.data_dir.join("documents")
    }

    /// Where the months' reports are written.
    #[must_use]
    pub fn reports_dir(&self) -> PathBuf {
        self.data_dir.join("reports")
    }

    /// Which database it is, for people: never with its password.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Closes the connections, and leaves the private server, which stops when nobody else uses it.
    ///
    /// # Errors
    /// [`StopError`].
    pub async fn close(self) -> Result<(), StopError> {
        // One that waits for a database which a network has swallowed never comes back.
        let closing = tokio::time::timeout(ANSWERS_WITHIN, self.outbox.pool().close());
        if closing.await.is_err() {
            tracing::warn!("Some connections are still in use; they are left");
        }
        let Some(local) = self.local else {
            return Ok(());
        };
        tokio::task::spawn_blocking(move || local.stop())
            .await
            .unwrap_or_else(resume)
    }
}

async fn start(data_dir: PathBuf) -> Result<LocalPostgres, SiteError> {
    let started = tokio::task::spawn_blocking(move || LocalPostgres::start(&data_dir)).await;
    Ok(started.unwrap_or_else(resume)?.watched())
}

/// A panic on another thread goes on here.
fn resume<T>(error: tokio::task::JoinError) -> T {
    std::panic::resume_unwind(error.into_panic())
}

/// A pool asks a server that refuses again and again; whoever starts a program wants to know at
/// once.
async fn connect(options: PgConnectOptions) -> Result<PgPool, sqlx::Error> {
    let first = tokio::time::timeout(ACQUIRE_TIMEOUT, options.connect()).await;
    first
        .map_err(|_| sqlx::Error::PoolTimedOut)??
        .close()
        .await?;
    PgPoolOptions::new()
        .max_connections(CONNECTIONS)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Instead of asking each connection before each use, as sqlx does, and for ever.
        .test_before_acquire(false)
        .before_acquire(|conn, meta| {
            let is_known = meta.idle_for < KNOWN_GOOD;
            Box::pin(async move {
                match is_known {
                    true => Ok(true),
                    false => answers(conn).await.map(|()| true),
                }
            })
        })
        // One that was left in the middle of a statement is asked by sqlx, for ever: in a network
        // that swallowed it, it would keep its place in the pool.
        .after_release(|conn, _| Box::pin(async move { answers(conn).await.map(|()| true) }))
        // No statement here is worth compiling, and before a close's new tables are analyzed the
        // planner thinks that many are.
        .after_connect(|conn, _| {
            Box::pin(async move { conn.execute("set jit = off").await.map(drop) })
        })
        .connect_with(options)
        .await
}

/// Asks a connection for a sign of life.
async fn answers(conn: &mut PgConnection) -> Result<(), sqlx::Error> {
    let ping = tokio::time::timeout(ANSWERS_WITHIN, conn.ping()).await;
    ping.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

async fn unmigrated(pool: &PgPool, database: String, source: MigrateError) -> SiteError {
    let (migration, differs) = match source {
        MigrateError::VersionMismatch(number) => (number, "is not the same as here"),
        MigrateError::VersionMissing(number) => (number, "is unknown here"),
        source => return SiteError::Migrate { database, source },
    };
    // Each schema counts for itself, and the error does not say which one it is about.
    let schema = match outbox::migrate(pool).await {
        Ok(()) => "billing",
        Err(_) => "outbox",
    };
    SiteError::OtherVersion {
        database,
        schema,
        migration,
        differs,
    }
}

fn described(options: &PgConnectOptions, is_private: bool) -> String {
    let host = options.get_socket().map_or_else(
        || format!("{}:{}", options.get_host(), options.get_port()),
        |socket| socket.display().to_string(),
    );
    let name = options
        .get_database()
        .unwrap_or_else(|| options.get_username());
    let kind = if is_private {
        "private database"
    } else {
        "database"
    };
    format!("{kind} {name} at {host}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_description_has_no_password() {
        let options = PgConnectOptions::from_str("postgres://me:secret@db.example:5433/books");

        assert_eq!(
            described(&options.unwrap(), false),
            "database books at db.example:5433"
        );
    }

    async fn refusal(url: &str) -> SiteError {
        let config = SiteConfig {
            database_url: Some(url.to_owned()),
            data_dir: PathBuf::from("."),
        };
        Site::open(config).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_url_that_cannot_be_read_is_the_callers_mistake() {
        for url in ["not a url", "postgres://localhost:port/books"] {
            let error = refusal(url).await;

            assert!(error.is_bad_input(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn a_url_without_its_scheme_is_refused_and_its_password_is_not_told() {
        let url = "me:secret@localhost:1/books";

        let naive = PgConnectOptions::from_str(url).unwrap();
        let error = refusal(url).await;

        assert!(described(&naive, false).contains("secret"), "{naive:?}");
        assert!(error.is_bad_input());
        assert!(!format!("{error} {error:?}").contains("secret"));
    }

    #[tokio::test]
    async fn a_server_that_refuses_is_told_at_once_and_by_name() {
        let error = refusal("postgres://me:secret@localhost:1/books").await;

        assert!(matches!(error, SiteError::Connect { .. }));
        assert!(!error.is_bad_input());
        assert!(error.to_string().contains("database books at localhost:1"));
        assert!(!format!("{error:?}").contains("secret"));
    }
}

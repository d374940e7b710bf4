//! The embedded default database: a private Postgres cluster under a binary's data directory.
//!
//! A billing binary that was given no `BILLING_DATABASE_URL` calls [`LocalPostgres::start`]. The
//! first caller creates the cluster and starts the server; later callers, in this or any other
//! process of the same user, join it; the last one to leave stops it. The server is nobody's child:
//! it outlives a killed caller, and the next one joins it.
//!
//! ```text
//! <data dir>/postgres.gate      exclusive lock, held while someone enters or leaves
//! <data dir>/postgres.holders   shared lock, held by everyone inside
//! <data dir>/postgres.password  password of the role `billing` (owner only)
//! <data dir>/postgres-admin.password  password of the superuser `admin` (owner only)
//! <data dir>/postgres/          belongs to the account that runs the server
//!     cluster/  log/
//! ```

mod account;
mod cluster;
mod error;
mod find;
mod lock;
mod password;
mod pidfile;
mod place;
mod settings;
mod socket;
mod watch;

use std::error::Error;
use std::path::{Path, PathBuf};

use tracing::{error, info};

use crate::cluster::Cluster;
pub use crate::error::{FileError, StartError, StopError};
pub use crate::find::InstallCommand;
use crate::lock::{Gate, Hold};
use crate::pidfile::Running;
use crate::place::Place;
use crate::watch::Watch;

/// The role that [`LocalPostgres::url`] logs in with, and the name of the database that it owns.
///
/// It may create databases but is no superuser, so it cannot read files or run programs.
pub const BILLING: &str = "billing";

/// A share in the private cluster: as long as it lives, the server is kept running.
///
/// Dropping it leaves the cluster as [`LocalPostgres::stop`] does, and logs what went wrong.
#[derive(Debug)]
pub struct LocalPostgres {
    place: Place,
    hold: Option<Hold>,
    socket_folder: PathBuf,
    password: String,
    watch: Option<Watch>,
}

impl LocalPostgres {
    /// Whether there is a database under `data_dir`, running or not. Creates nothing.
    #[must_use]
    pub fn exists(data_dir: &Path) -> bool {
        Place::is_ready(data_dir)
    }

    /// Makes sure that the cluster under `data_dir` exists and runs, and joins it.
    ///
    /// Creates the cluster if there is none and starts the server if it is down; either way the
    /// database `billing` is there afterwards. Blocks, for about two seconds the first time and for
    /// as long as recovery takes after a crash.
    pub fn start(data_dir: &Path) -> Result<Self, StartError> {
        let place = Place::create(data_dir)?;
        let gate = Gate::enter(&place)?;
        let (socket_folder, password) = match pidfile::settled(&place)? {
            Some(server) => join(&place, &gate, server)?,
            None => launch(&place, &gate)?,
        };
        // Inside the gate: the last one out must see either all of us or nothing of us.
        let hold = Some(Hold::take(&place)?);
        Ok(Self {
            place,
            hold,
            socket_folder,
            password,
            watch: None,
        })
    }

    /// Brings the server up again, as long as this share is held, when somebody has killed it. The
    /// URLs stay the same; connections have to be opened anew.
    #[must_use]
    pub fn watched(mut self) -> Self {
        match Watch::over(self.place.clone()) {
            Ok(watch) => self.watch = Some(watch),
            Err(err) => {
                let error = &err as &dyn Error;
                error!(
                    error,
                    "Nobody will bring Postgres in {} up again", self.place
                );
            }
        }
        self
    }

    /// The connection URL of the database `billing`; it carries the password.
    pub fn url(&self) -> String {
        self.url_of(BILLING)
    }

    /// The connection URL of another database of this cluster, for the same role.
    ///
    /// `database` is taken literally and must consist of letters, digits, `_` and `-`.
    pub fn url_of(&self, database: &str) -> String {
        let host = socket::as_url_host(&self.socket_folder);
        format!("postgres://{BILLING}:{}@{host}/{database}", self.password)
    }

    /// Leaves the cluster; the last one out stops the server (fast shutdown: open transactions are
    /// rolled back, everything committed is kept).
    pub fn stop(mut self) -> Result<(), StopError> {
        self.leave()
    }

    fn leave(&mut self) -> Result<(), StopError> {
        let Some(hold) = self.hold.take() else {
            return Ok(());
        };
        // Before the gate, at which it may stand itself.
        drop(self.watch.take());
        let _gate = Gate::enter(&self.place)?;
        if !hold.release_as_the_last()? {
            return Ok(());
        }
        let Some(server) = pidfile::running(&self.place)? else {
            return Ok(());
        };
        cluster::shut_down(&self.place, &server)?;
        socket::remove(&self.socket_folder);
        info!("Stopped Postgres in {}", self.place);
        Ok(())
    }
}

impl Drop for LocalPostgres {
    fn drop(&mut self) {
        if let Err(err) = self.leave() {
            error!(
                error = &err as &dyn Error,
                "Postgres in {} may still run", self.place
            );
        }
    }
}

/// Where a program of the server's installation lies, such as `pg_dump`.
///
/// # Errors
/// When no Postgres of a version that we can use is installed.
pub fn program(name: &str) -> Result<PathBuf, StartError> {
    let found = find::find(&find::folders(), Path::new("."), None)?;
    Ok(found.program(name))
}

fn join(place: &Place, gate: &Gate, server: Running) -> Result<(PathBuf, String), StartError> {
    socket::expect_listener(&server.socket_folder)?;
    let password = password::read(&place.billing_password())?;
    if !place.ready().exists() {
        // Whoever started this server was killed before it made the database.
        make_ready(
            place,
            &Cluster::at(place, gate)?,
            &server.socket_folder,
            &password,
        )?;
    }
    info!("Joined Postgres in {place} (pid {})", server.pid);
    Ok((server.socket_folder, password))
}

fn launch(place: &Place, gate: &Gate) -> Result<(PathBuf, String), StartError> {
    let cluster = Cluster::at(place, gate)?;
    let socket_folder = socket::prepare(&socket::bases(), place, &cluster.account)?;
    match bring_up(place, &cluster, &socket_folder) {
        Ok(password) => Ok((socket_folder, password)),
        Err(err) => {
            // Stays when the server is up in spite of the error, since its socket is in there.
            socket::remove(&socket_folder);
            Err(err)
        }
    }
}

fn bring_up(place: &Place, cluster: &Cluster, socket: &Path) -> Result<String, StartError> {
    if !place.cluster().exists() {
        cluster.create()?;
    }
    let password = password::read(&place.billing_password())?;
    cluster.start(socket)?;
    make_ready(place, cluster, socket, &password)?;
    Ok(password)
}

fn make_ready(
    place: &Place,
    cluster: &Cluster,
    socket: &Path,
    password: &str,
) -> Result<(), StartError> {
    cluster.ensure_database(socket, password)?;
    let ready = place.ready();
    std::fs::write(&ready, "").map_err(FileError::of("write", &ready))?;
    Ok(())
}

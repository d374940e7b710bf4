//! A data directory of its own for a test, and neighbours that use it from processes of their own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use local_postgres::LocalPostgres;
use rustix::process::{Pid, Signal};
use sqlx::{Connection, PgConnection};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A temporary folder with a data directory in it. Whatever still runs there is stopped in the end.
pub(crate) struct Scene {
    pub(crate) folder: TempDir,
    pub(crate) data_dir: PathBuf,
}

impl Scene {
    pub(crate) fn new() -> Self {
        Self::named("data")
    }

    pub(crate) fn named(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        open_to_all(folder.path());
        let data_dir = folder.path().join(name);
        Self { folder, data_dir }
    }

    pub(crate) fn start(&self) -> LocalPostgres {
        LocalPostgres::start(&self.data_dir).unwrap()
    }

    pub(crate) fn refusal(&self) -> String {
        LocalPostgres::start(&self.data_dir)
            .unwrap_err()
            .to_string()
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.data_dir.join("postgres")
    }

    pub(crate) fn pidfile(&self) -> PathBuf {
        self.home().join("cluster/postmaster.pid")
    }

    /// The server's process id, while it runs.
    pub(crate) fn server(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.pidfile()).ok()?;
        let pid = Pid::from_raw(text.lines().next()?.parse().ok()?)?;
        is_server(pid).then_some(pid)
    }

    pub(crate) fn kill_server(&self) {
        let pid = self.server().unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
        until("the server is dead", || !is_server(pid));
    }

    /// Gives the server another process id in its own file, as time does after a crash.
    pub(crate) fn rename_server_in_pidfile(&self, pid: u32) {
        let text = fs::read_to_string(self.pidfile()).unwrap();
        let (_, rest) = text.split_once('\n').unwrap();
        fs::write(self.pidfile(), format!("{pid}\n{rest}")).unwrap();
    }

    /// What the server says when it is simply started, to show what our care is for.
    pub(crate) fn start_without_care(&self) -> String {
        let opts = fs::read_to_string(self.home().join("cluster/postmaster.opts")).unwrap();
        let home = fs::metadata(self.home()).unwrap();
        let mut postgres = Command::new(opts.split(' ').next().unwrap());
        postgres
            .args(["-D", "cluster", "-c", "logging_collector=off"])
            .current_dir(self.home())
            .uid(home.uid())
            .gid(home.gid());
        String::from_utf8(postgres.output().unwrap().stderr).unwrap()
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let socket_folder = fs::read_to_string(self.pidfile())
            .ok()
            .and_then(|text| text.lines().nth(4).map(PathBuf::from));
        if let Some(pid) = self.server() {
            rustix::process::kill_process(pid, Signal::INT).unwrap();
            until("the server has stopped", || !is_server(pid));
        }
        if let Some(folder) = socket_folder.filter(|folder| folder.exists()) {
            fs::remove_dir_all(folder).unwrap();
        }
    }
}

fn is_server(pid: Pid) -> bool {
    let path = format!("/proc/{}/cmdline", pid.as_raw_nonzero());
    // A zombie has no command line.
    fs::read(path).is_ok_and(|line| line.windows(9).any(|word| word == b"/postgres"))
}

/// Another process that holds the cluster, until it is told to leave or killed.
pub(crate) struct Neighbour {
    child: Child,
    stdin: Option<ChildStdin>,
    said: BufReader<File>,
}

impl Neighbour {
    /// Starts a process that starts or joins the cluster, in a process group of its own.
    pub(crate) fn of(scene: &Scene) -> Self {
        let program = env!("CARGO_BIN_EXE_local-postgres");
        Self::run(Command::new(program).arg(&scene.data_dir), &scene.folder)
    }

    pub(crate) fn run(command: &mut Command, folder: &TempDir) -> Self {
        let (said, log) = tempfile::NamedTempFile::new_in(folder)
            .unwrap()
            .into_parts();
        let mut child = command
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Self {
            stdin: child.stdin.take(),
            child,
            said: BufReader::new(File::open(&log).unwrap()),
        }
    }

    /// Waits for a line that contains `part` and returns it.
    pub(crate) fn says(&mut self, part: &str) -> String {
        let mut heard = String::new();
        until(part, || {
            let mut line = String::new();
            while self.said.read_line(&mut line).unwrap() > 0 {
                heard.push_str(&line);
                if line.contains(part) && line.ends_with('\n') {
                    return true;
                }
                line.clear();
            }
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "ended without saying {part:?}: {heard}");
            false
        });
        heard.lines().last().unwrap().to_owned()
    }

    pub(crate) fn url(&mut self) -> String {
        self.says("postgres://")
    }

    pub(crate) fn leave(mut self) {
        drop(self.stdin.take());
        assert!(self.child.wait().unwrap().success());
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// What Ctrl-C in its terminal does.
    pub(crate) fn interrupt_its_group(mut self) {
        let group = Pid::from_child(&self.child);
        rustix::process::kill_process_group(group, Signal::INT).unwrap();
        self.child.wait().unwrap();
    }
}

/// Waits until `condition` holds; panics with `what` when it never does.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited too long until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

/// The one value that `sql` selects, as text.
pub(crate) async fn ask(url: &str, sql: &'static str) -> String {
    let mut connection = connect(url).await;
    let answer: String = sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    answer
}

pub(crate) async fn tell(url: &str, sql: &'static str) {
    let mut connection = connect(url).await;
    sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

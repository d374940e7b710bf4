//! The program as a process: its first line, its bounds, its end.

use std::net::SocketAddr;
use std::process::Stdio;

use testkit::{TestDb, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

use crate::client::{exchange, get, post};
use crate::scene::{PATIENCE, wanted};

/// Half a header and endless bodies of this many clients must stay below this.
const MEMORY_KIB_MAX: u64 = 300 * 1024;

struct Program {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: SocketAddr,
    first_line: String,
}

impl Program {
    async fn start(db: &TestDb) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_billing-api"))
            .args(["--listen", "127.0.0.1:0"])
            .env("BILLING_DATABASE_URL", db.url())
            .env("NO_COLOR", "1")
            .env_remove("RUST_LOG")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let first_line = loop {
            let line = log
                .next_line()
                .await
                .unwrap()
                .expect("a line that says where it listens");
            if line.contains("http://") {
                break line;
            }
        };
        let after = first_line.split("http://").nth(1).unwrap();
        let address = after.split(',').next().unwrap().parse().unwrap();
        Self {
            child,
            log,
            address,
            first_line,
        }
    }

    async fn terminate(&self) {
        let pid = self.child.id().unwrap().to_string();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-TERM", &pid]).status().await.unwrap().success());
    }

    fn memory_kib(&self) -> u64 {
        let status = format!("/proc/{}/status", self.child.id().unwrap());
        let status = std::fs::read_to_string(status).unwrap();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .unwrap();
        peak.trim().trim_end_matches(" kB").parse().unwrap()
    }
}

#[tokio::test]
async fn the_first_line_says_where_it_listens_and_keeps_the_password() {
    let db = TestDb::billing().await.unwrap();

    let program = Program::start(&db).await;

    let health = exchange(program.address, &get("/healthz")).await.unwrap();
    assert_eq!(health.status, 200);
    assert!(
        program.first_line.contains("on the database"),
        "{}",
        program.first_line
    );
    let password = db
        .url()
        .split(':')
        .nth(2)
        .and_then(|rest| rest.split('@').next());
    let password = password.filter(|password| !password.is_empty());
    assert!(password.is_none_or(|password| !program.first_line.contains(password)));
}

#[tokio::test]
async fn a_request_in_hand_is_answered_before_the_program_ends() {
    let db = TestDb::billing().await.unwrap();
    let mut program = Program::start(&db).await;
    let mut elsewhere = db.pool.begin().await.unwrap();
    sqlx::query("lock billing.account in exclusive mode")
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    let (address, request) = (program.address, post("/v1/accounts", "", &wanted("acme")));
    let asked = tokio::spawn(async move { exchange(address, &request).await });
    until("the request to wait for the lock", PATIENCE, async || {
        let waiting = "select 1 from pg_stat_activity
            where datname = current_database() and wait_event_type = 'Lock'";
        sqlx::query(waiting).fetch_optional(&db.pool).await.unwrap()
    })
    .await
    .unwrap();

    program.terminate().await;
    while !program
        .log
        .next_line()
        .await
        .unwrap()
        .unwrap()
        .contains("Stopping")
    {}
    elsewhere.rollback().await.unwrap();

    assert_eq!(asked.await.unwrap().unwrap().status, 201);
    assert!(program.child.wait().await.unwrap().success());
    assert!(exchange(address, &get("/healthz")).await.is_none());
}

#[tokio::test]
async fn hundreds_of_hostile_connections_do_not_fill_the_memory() {
    let db = TestDb::billing().await.unwrap();
    let program = Program::start(&db).await;
    let endless = "POST /v1/accounts HTTP/1.1\r\nHost: api\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n";
    let piece = format!("{endless}40000\r\n{}", "x".repeat(0x40000 - 1));
    let mut open = Vec::new();
    for n in 0..500 {
        let mut stream = TcpStream::connect(program.address).await.unwrap();
        let request = if n % 2 == 0 {
            "GET / HTTP/1.1\r\nX: "
        } else {
            &piece
        };
        stream.write_all(request.as_bytes()).await.unwrap();
        open.push(stream);
    }

    let created = exchange(program.address, &post("/v1/accounts", "", &wanted("acme"))).await;

    assert_eq!(created.unwrap().status, 201);
    let peak = program.memory_kib();
    assert!(peak < MEMORY_KIB_MAX, "{peak} KiB");
}

//! The program as a process: its first line, its bounds, its end.

use std::net::SocketAddr;
use std::process::Stdio;

use billing::gateway::{Charge, Gateway as _};
use billing::ids::PaymentId;
use billing::money::{Currency, Money};
use billing_workers::gateways::House;
use gateway_sim::GatewaySim;
use tempfile::TempDir;
use testkit::{TestDb, until};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStderr, Command};

use crate::client::{exchange, get, post};
use crate::scene::{PATIENCE, SECRET, wanted};
use crate::signed::Signed;

/// Half a header and endless bodies of this many clients must stay below this.
const MEMORY_KIB_MAX: u64 = 300 * 1024;

struct Program {
    child: Child,
    log: Lines<BufReader<ChildStderr>>,
    address: SocketAddr,
    first_line: String,
    folder: TempDir,
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_billing-api"));
    command.env("NO_COLOR", "1").env_remove("RUST_LOG");
    for variable in ["URL", "SECRET", "TIMEOUT_MS"] {
        command.env_remove(format!("BILLING_GATEWAY_{variable}"));
    }
    command.env_remove("BILLING_WEBHOOK_URL");
    command
}

impl Program {
    /// With nothing configured but the database: the simulator is in a folder of its own.
    async fn start(db: &TestDb) -> Self {
        Self::start_with(db, &[]).await
    }

    async fn start_with(db: &TestDb, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut child = command()
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .env("BILLING_DATABASE_URL", db.url())
            .envs(variables.iter().copied())
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
            folder,
        }
    }

    /// Everything that it says until it has ended.
    async fn last_words(mut self) -> String {
        self.terminate().await;
        let mut words = self.first_line;
        while let Some(line) = self.log.next_line().await.unwrap() {
            words.push('\n');
            words.push_str(&line);
        }
        assert!(self.child.wait().await.unwrap().success());
        words
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

#[tokio::test]
async fn the_log_has_no_cards_number_and_says_what_people_must_look_at() {
    let db = TestDb::billing().await.unwrap();
    let variables = [
        ("BILLING_GATEWAY_URL", "http://127.0.0.1:1"),
        ("BILLING_GATEWAY_SECRET", SECRET),
        ("RUST_LOG", "debug"),
    ];
    let program = Program::start_with(&db, &variables).await;
    let address = program.address;
    let send = async |request: Vec<u8>| exchange(address, &request).await.unwrap().status;
    assert_eq!(send(post("/v1/accounts", "", &wanted("acme"))).await, 201);
    let methods = "/v1/accounts/acme/payment-methods";
    for body in [
        r#"{"gateway":"house","token":"4242424242424242","brand":"V","last_four":"4242"}"#,
        r#"{"gateway":"house","token":4242424242424242}"#,
        r#"{"4242424242424242":1}"#,
    ] {
        assert_eq!(send(post(methods, "", body)).await, 422);
    }
    let unknown = Signed::capture("evt_unknown", PaymentId::new(), 100);
    assert_eq!(send(unknown.request()).await, 200);
    assert_eq!(send(unknown.request_with("", b"{}")).await, 401);

    let log = program.last_words().await;

    assert!(!log.contains("42424242"), "{log}");
    assert!(!log.contains(SECRET), "{log}");
    assert!(log.contains("evt_unknown"), "{log}");
    assert!(log.contains("was refused: the header"), "{log}");
}

#[tokio::test]
async fn with_nothing_configured_the_simulator_tells_the_program_what_happened() {
    let db = TestDb::billing().await.unwrap();
    let program = Program::start(&db).await;
    let sim = GatewaySim::at(program.folder.path().join("gateway"));
    let sim = sim.start_or_join().await.unwrap();
    assert!(!sim.is_ours());
    let charge = Charge {
        payment: PaymentId::new(),
        token: "tok_approve".to_owned(),
        money: Money::new(100, Currency::parse("USD").unwrap()),
        description: "a test".to_owned(),
    };

    let house = House::of_simulator(sim.address());
    house.charge(&charge).await.unwrap();

    until("the webhook", PATIENCE, async || {
        let kept = "select 1 from billing.gateway_webhook where gateway = 'sim'";
        sqlx::query(kept).fetch_optional(&db.pool).await.unwrap()
    })
    .await
    .unwrap();
    sim.stop().await;
}

#[tokio::test]
async fn what_cannot_be_used_is_exit_code_2_and_trouble_is_1() {
    let folder = tempfile::tempdir().unwrap();
    let db = TestDb::billing().await.unwrap();
    let exit = async |url: &str, variables: &[(&str, &str)]| {
        let ran = command()
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(folder.path())
            .env("BILLING_DATABASE_URL", url)
            .envs(variables.iter().copied())
            .output();
        ran.await.unwrap().status.code()
    };

    assert_eq!(exit("not a url", &[]).await, Some(2));
    let unreachable = "postgres://nobody@127.0.0.1:1/nothing";
    assert_eq!(exit(unreachable, &[]).await, Some(1));
    for (variable, value) in [
        ("BILLING_GATEWAY_URL", "not a url"),
        ("BILLING_GATEWAY_TIMEOUT_MS", "soon"),
        ("BILLING_WEBHOOK_URL", "http://127.0.0.1:1/webhooks"),
    ] {
        assert_eq!(
            exit(db.url(), &[(variable, value)]).await,
            Some(2),
            "{variable}"
        );
    }
}

//! What a part of the run cost the server.

use std::fs;

use anyhow::Result;
use testkit::Server;

/// Clock ticks per second of `/proc`, the same on every Linux.
const TICKS_PER_S: u64 = 100;

/// What had been spent at an instant.
pub(crate) struct Mark {
    wal: String,
    server_ms: u64,
    client_ms: u64,
}

/// What was spent since.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    pub(crate) wal_bytes: u64,
    /// Processor time of the server.
    pub(crate) server_ms: u64,
    /// Processor time of this process and of its children that have ended.
    pub(crate) client_ms: u64,
    /// Whether a checkpoint began meanwhile: each page that was changed after it was written to the
    /// write-ahead log as a whole.
    pub(crate) checkpoint: bool,
}

/// A checkpoint now, so that none is due in what follows. Whoever counts bytes lets some work be
/// done before the mark: what is in use is then written as whole pages once, and not counted.
pub(crate) async fn checkpoint(server: &Server) -> Result<()> {
    let mut connection = server.connect().await?;
    sqlx::query("checkpoint").execute(&mut connection).await?;
    Ok(())
}

/// Where we are.
pub(crate) async fn mark(server: &Server) -> Result<Mark> {
    let mut connection = server.connect().await?;
    let wal = sqlx::query_scalar("select pg_current_wal_insert_lsn()::text")
        .fetch_one(&mut connection)
        .await?;
    Ok(Mark {
        wal,
        server_ms: processor_ms(server)?,
        client_ms: client_ms(),
    })
}

pub(crate) async fn since(server: &Server, mark: &Mark) -> Result<Spent> {
    let (server_ms, client_ms) = (processor_ms(server)?, client_ms());
    let mut connection = server.connect().await?;
    let (bytes, checkpoint): (i64, bool) = sqlx::query_as(
        "select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), $1::text::pg_lsn)::bigint,
            redo_lsn > $1::text::pg_lsn
        from pg_control_checkpoint()",
    )
    .bind(&mark.wal)
    .fetch_one(&mut connection)
    .await?;
    Ok(Spent {
        wal_bytes: bytes.unsigned_abs(),
        server_ms: server_ms - mark.server_ms,
        client_ms: client_ms - mark.client_ms,
        checkpoint,
    })
}

fn client_ms() -> u64 {
    let own = stat(std::process::id()).map_or(0, |stat| stat.own + stat.of_ended_children);
    own * 1_000 / TICKS_PER_S
}

/// Of the postmaster, its children and those that have ended.
fn processor_ms(server: &Server) -> Result<u64> {
    let pid_file = server.data_dir().join("postgres/cluster/postmaster.pid");
    let text = fs::read_to_string(pid_file)?;
    let postmaster: u32 = text.lines().next().unwrap_or_default().parse()?;
    let mut ticks = stat(postmaster).map_or(0, |stat| stat.own + stat.of_ended_children);
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        if let Some(stat) = stat(pid)
            && stat.parent == postmaster
        {
            ticks += stat.own;
        }
    }
    Ok(ticks * 1_000 / TICKS_PER_S)
}

/// Processor time of a process of ours so far.
pub(crate) fn processor_ms_of(pid: u32) -> u64 {
    stat(pid).map_or(0, |stat| stat.own * 1_000 / TICKS_PER_S)
}

struct Stat {
    parent: u32,
    own: u64,
    of_ended_children: u64,
}

/// Nothing for a process that has ended.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The program's name, in brackets, may hold anything.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |nth: usize| -> Option<u64> { fields.get(nth)?.parse().ok() };
    Some(Stat {
        parent: fields.get(1)?.parse().ok()?,
        own: number(11)? + number(12)?,
        of_ended_children: number(13)? + number(14)?,
    })
}

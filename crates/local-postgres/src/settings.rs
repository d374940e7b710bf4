//! The server's settings: durable, private, and sized to the machine.
//!
//! Both files are written anew at each start of the server. An operator who wants other values uses
//! `alter system`, which is kept apart and wins.

use std::fs;
use std::path::Path;

use crate::socket::PORT;

/// Scram for every role and nothing but the Unix socket, to which `pg_hba.conf` says `local`.
pub(crate) const HBA: &str = "local all all scram-sha-256\n";

const MIB: u64 = 1024 * 1024;

/// Assumed when the system does not tell: a small virtual machine.
const UNKNOWN_MEMORY_BYTES: u64 = 2048 * MIB;

/// A month's close works in chunks; more cache than this is of no use to it.
const SHARED_BUFFERS_MIB_MAX: u64 = 2048;

/// Postgres' own default: below it even small closes wait for the disk.
const SHARED_BUFFERS_MIB_MIN: u64 = 128;

/// Text of `postgresql.conf` for a socket in `socket_folder` and `memory` bytes of memory.
pub(crate) fn text(socket_folder: &Path, memory: u64) -> String {
    let mib = memory / MIB;
    let shared_buffers = (mib / 8).clamp(SHARED_BUFFERS_MIB_MIN, SHARED_BUFFERS_MIB_MAX);
    let effective_cache = (mib / 2).max(shared_buffers);
    let maintenance = (mib / 32).clamp(64, 512);
    let folder = socket_folder.display();
    format!(
        "# Written at each start; use `alter system` for other values.
listen_addresses = ''
unix_socket_directories = '{folder}'
unix_socket_permissions = 0700
port = {PORT}
password_encryption = 'scram-sha-256'

fsync = on
full_page_writes = on
synchronous_commit = on

max_connections = 300
shared_buffers = {shared_buffers}MB
effective_cache_size = {effective_cache}MB
maintenance_work_mem = {maintenance}MB
work_mem = 16MB
max_wal_size = 4GB
min_wal_size = 256MB
checkpoint_timeout = 15min
checkpoint_completion_target = 0.9
random_page_cost = 1.1
jit = off

timezone = 'UTC'
log_timezone = 'UTC'

# One file per weekday; the next week's overwrites it.
logging_collector = on
log_directory = '../log'
log_filename = 'postgres-%a.log'
log_file_mode = 0600
log_rotation_age = 1d
log_rotation_size = 0
log_truncate_on_rotation = on
log_line_prefix = '%m [%p] %q%u@%d %a '
log_lock_waits = on
log_checkpoints = off
"
    )
}

/// Bytes of memory that we may count on: the machine's, or less in a container.
pub(crate) fn memory() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| total(&text))
        .unwrap_or(UNKNOWN_MEMORY_BYTES);
    let container = fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok());
    container.map_or(machine, |limit: u64| limit.min(machine))
}

fn total(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_grows_with_the_machine_between_two_bounds() {
        let buffers = |gib: u64| {
            let text = text(Path::new("/tmp/x"), gib * 1024 * MIB);
            let line = text.lines().find(|line| line.starts_with("shared_buffers"));
            line.unwrap().to_owned()
        };

        assert_eq!(buffers(0), "shared_buffers = 128MB");
        assert_eq!(buffers(8), "shared_buffers = 1024MB");
        assert_eq!(buffers(256), "shared_buffers = 2048MB");
    }

    #[test]
    fn memory_is_read_from_the_systems_table() {
        assert_eq!(
            total("MemTotal:       24576000 kB\nMemFree: 1 kB\n"),
            Some(25_165_824_000)
        );
        assert_eq!(total("nothing of the kind"), None);
    }
}

//! How much memory the program took at most.

use std::fs;

/// The peak of what it had in memory, in megabytes; nothing where the system does not say.
pub(crate) fn peak_mb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    peak_kib(&status).map(|kib| kib * 1_024 / 1_000_000)
}

fn peak_kib(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_where_the_system_says_it() {
        let status = "VmPeak:\t  900000 kB\nVmHWM:\t   50000 kB\nVmRSS:\t   40000 kB\n";
        assert_eq!(peak_kib(status), Some(50_000));
        assert_eq!(peak_kib("Name:\tmonth-close\n"), None);
    }
}

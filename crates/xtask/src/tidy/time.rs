//! Time: rules take `now` as a value, so that a test can close a month of the year 2031.

use super::Finding;
use crate::scan::Source;

const READS: &[&str] = &["Utc::now", "SystemTime::now", "now_v7"];

/// The clock is read in `clock.rs`, and in `ids.rs` because the ids carry the time.
pub(super) fn clock_read(source: &Source) -> Vec<Finding> {
    let name = source.path.rsplit('/').next().unwrap_or_default();
    if matches!(name, "clock.rs" | "ids.rs") {
        return Vec::new();
    }
    let advice = "take `now` as a value or ask a `Clock`; ids come from `ids.rs`";
    READS
        .iter()
        .flat_map(|read| source.code_hits(read))
        .map(|offset| Finding::at(source, offset, "clock-read", advice))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn the_clock_is_read_in_one_place() {
        let read = "fn now() -> Time {\n    chrono::Utc::now()\n}\n";

        assert_eq!(
            lines(clock_read, "crates/billing/src/invoice.rs", read),
            [2]
        );
        assert!(lines(clock_read, "crates/outbox/src/clock.rs", read).is_empty());
        assert!(lines(clock_read, "crates/billing/src/invoice.rs", "// Utc::now\n").is_empty());
    }
}

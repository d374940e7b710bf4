//! Layers: inside the domain, calls go down only, and one file knows the message broker.

use super::Finding;
use crate::scan::{Source, is_name_char};

/// The nouns with a fixed place, lowest first. A noun that is not listed has none yet.
const LAYERS: &[&[&str]] = &[
    &["ids", "money"],
    &["account"],
    &["ledger"],
    &["hold"],
    // The last cent of an invoice ends its dunning and lifts the hold, so both lie below it.
    &["dunning"],
    &["owed"],
    &["credit", "proration", "fx"],
    &["invoice"],
    &["payment_method", "payment"],
    &["refund"],
    &["month_close"],
];

/// These read all the others, and nothing reads them.
const READERS: &[&str] = &[
    "report",
    "reconciliation",
    "audit",
    "sanity",
    "check",
    "checks",
    "finding",
];

pub(super) fn calls_go_down(source: &Source) -> Vec<Finding> {
    let Some(own) = noun(&source.path) else {
        return Vec::new();
    };
    let mut findings = Vec::new();
    for offset in source.code_hits("crate::") {
        let target = source.code[offset + "crate::".len()..]
            .split(|c| !is_name_char(c))
            .next();
        let target = target.unwrap_or_default();
        if !source.is_test_code(offset) && !may_call(own, target) {
            let advice = format!("`{own}` must not know `{target}`: calls go down only");
            findings.push(Finding::at(source, offset, "layer", advice));
        }
    }
    findings
}

pub(super) fn nats_outside_transport(source: &Source) -> Vec<Finding> {
    if source.path.contains("jetstream") || !source.path.contains("/src/") {
        return Vec::new();
    }
    let hits = source.code_hits("async_nats");
    let advice = "only `transport/jetstream.rs` of the engine speaks NATS";
    hits.filter(|offset| !source.is_test_code(*offset))
        .map(|offset| Finding::at(source, offset, "nats", advice))
        .collect()
}

/// The noun a file of the domain belongs to: `invoice` for `invoice.rs` and `invoice/store.rs`.
fn noun(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("crates/billing/src/")?;
    let noun = inside.split('/').next()?.trim_end_matches(".rs");
    (noun != "lib").then_some(noun)
}

fn may_call(own: &str, target: &str) -> bool {
    if READERS.contains(&own) || own == target {
        return true;
    }
    if READERS.contains(&target) {
        return false;
    }
    match (layer(own), layer(target)) {
        (Some(own), Some(target)) => target <= own,
        _ => true,
    }
}

fn layer(noun: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&noun))
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_lower_noun_does_not_know_a_higher_one() {
        let ledger = "crates/billing/src/ledger/store.rs";

        assert_eq!(
            lines(
                calls_go_down,
                ledger,
                "//! L.\nuse crate::invoice::Invoice;"
            ),
            [2]
        );
        assert!(lines(calls_go_down, ledger, "use crate::{money::Money, ids};").is_empty());
        assert!(lines(calls_go_down, ledger, "use crate::account::Account;").is_empty());
        assert!(lines(calls_go_down, ledger, "use crate::ledger::Transfer;").is_empty());
    }

    #[test]
    fn nothing_reads_the_readers() {
        let path = "crates/billing/src/payment.rs";

        assert_eq!(lines(calls_go_down, path, "use crate::report::Aging;"), [1]);
        let report = "crates/billing/src/report.rs";
        assert!(lines(calls_go_down, report, "use crate::month_close::Close;").is_empty());
    }

    #[test]
    fn one_file_speaks_to_the_broker() {
        let rule = nats_outside_transport;

        assert_eq!(
            lines(
                rule,
                "crates/outbox/src/relay.rs",
                "use async_nats::Client;"
            ),
            [1]
        );
        let transport = "crates/outbox/src/transport/jetstream.rs";
        assert!(lines(rule, transport, "use async_nats::Client;").is_empty());
    }
}

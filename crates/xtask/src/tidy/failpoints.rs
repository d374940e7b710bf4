//! Failpoints: a registry says which there are, so that a run of faults can say which it reached.

use super::Finding;
use crate::scan::Source;

/// A line for each: its name, and what comes to it.
pub(super) const REGISTRY: &str = "crates/chaos/failpoints.txt";
const CALL: &str = "failpoint!(";

/// Each failpoint of the source stands in the registry, once, and each of the registry in the
/// source.
pub(super) fn check(sources: &[Source], registry: &str) -> Vec<Finding> {
    let lines = registry.lines().enumerate();
    let lines = lines.filter(|(_, line)| !line.starts_with('#'));
    let known: Vec<(usize, &str)> = lines
        .filter_map(|(at, line)| Some((at + 1, line.split_whitespace().next()?)))
        .collect();
    let mut found: Vec<&str> = Vec::new();
    let mut findings = Vec::new();
    for source in sources.iter().filter(|source| source.path.ends_with(".rs")) {
        for (offset, name) in points(source) {
            let advice = if found.contains(&name) {
                format!("`{name}` stands elsewhere, too: a failpoint is one place")
            } else if known.iter().all(|(_, known)| *known != name) {
                format!("write `{name}` into {REGISTRY}")
            } else {
                found.push(name);
                continue;
            };
            findings.push(Finding::at(source, offset, "failpoint", advice));
        }
    }
    let gone = known.into_iter().filter(|(_, name)| !found.contains(name));
    findings.extend(gone.map(|(line, name)| Finding {
        path: REGISTRY.to_owned(),
        line,
        rule: "failpoint",
        advice: format!("`{name}` stands nowhere in the source: take it out"),
    }));
    findings
}

fn points(source: &Source) -> Vec<(usize, &str)> {
    let calls = source.code_hits(CALL);
    let name = |offset: usize| {
        let literal = source.text[offset + CALL.len()..].strip_prefix('"')?;
        Some((offset, literal.split_once('"')?.0))
    };
    calls.filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(code: &str, registry: &str) -> Vec<String> {
        let source = Source::new("crates/outbox/src/relay.rs", code.to_owned());
        let findings = check(&[source], registry);
        findings.into_iter().map(|found| found.advice).collect()
    }

    #[test]
    fn source_and_registry_name_the_same_points() {
        let code = "fn cut() {\n    failpoint!(\"relay.cut\")?;\n}\n";
        assert_eq!(found(code, "# all\nrelay.cut close\n"), [""; 0]);
        assert!(found(code, "")[0].starts_with("write `relay.cut`"));
        assert!(found("", "relay.cut close\n")[0].contains("nowhere"));
        assert!(found(&code.repeat(2), "relay.cut close\n")[0].contains("elsewhere"));
        let said = "//! `failpoint!(\"relay.cut\")`\n";
        assert_eq!(found(said, ""), [""; 0], "words are no code");
    }
}

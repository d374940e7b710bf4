//! Documents: what a file must say at its head, and what no file may leave behind.

use super::Finding;
use crate::scan::{Source, is_name_char};

pub(super) fn opens_with_docs(source: &Source) -> Vec<Finding> {
    let advice = "open the file with `//!`: the term defined, the invariant, what it owns";
    unless(
        source.text.starts_with("//!"),
        source,
        "module-docs",
        advice,
    )
}

pub(super) fn opens_with_why(source: &Source) -> Vec<Finding> {
    let advice = "open the file with a `--` comment that says why it exists";
    unless(source.text.starts_with("--"), source, "sql-why", advice)
}

/// A decision record is titled with the question it answers.
pub(super) fn decision_asks(source: &Source) -> Vec<Finding> {
    let is_decision = source.path.starts_with("docs/decisions/") && source.has_extension("md");
    let asks = source
        .text
        .lines()
        .next()
        .is_some_and(|title| title.trim_end().ends_with('?'));
    let advice = "title the decision with the question that it answers, ending in `?`";
    unless(!is_decision || asks, source, "decision-title", advice)
}

/// An open question in a comment is lost unless an issue holds it.
pub(super) fn open_question_has_issue(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for marker in ["TODO", "FIXME"] {
        for (offset, _) in source.comments.match_indices(marker) {
            let rest = source.text[offset + marker.len()..]
                .lines()
                .next()
                .unwrap_or_default();
            if !names_an_issue(rest) {
                let advice = format!("`{marker}` needs an issue number, as in `{marker}(#12)`");
                findings.push(Finding::at(source, offset, "open-question", advice));
            }
        }
    }
    findings
}

/// The variable that sqlx's macros obey. Were it set for our programs too, a developer's database
/// would silently replace the committed query metadata at compile time.
pub(super) fn foreign_variable(source: &Source) -> Vec<Finding> {
    if source.path.starts_with("crates/xtask/") || source.path == ".cargo/config.toml" {
        return Vec::new();
    }
    let hits = source.text.match_indices("DATABASE_URL");
    let foreign = hits.filter(|(offset, _)| !source.text[..*offset].ends_with(is_name_char));
    foreign
        .map(|(offset, _)| {
            Finding::at(
                source,
                offset,
                "database-variable",
                "say `BILLING_DATABASE_URL`",
            )
        })
        .collect()
}

fn names_an_issue(rest_of_line: &str) -> bool {
    rest_of_line
        .split('#')
        .skip(1)
        .any(|number| number.starts_with(|c: char| c.is_ascii_digit()))
}

fn unless(ok: bool, source: &Source, rule: &'static str, advice: &str) -> Vec<Finding> {
    if ok {
        Vec::new()
    } else {
        vec![Finding::at(source, 0, rule, advice)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_file_opens_with_its_docs() {
        assert_eq!(lines(opens_with_docs, "a.rs", "use std::fs;\n"), [1]);
        assert!(lines(opens_with_docs, "a.rs", "//! Money.\n").is_empty());
    }

    #[test]
    fn a_migration_opens_with_its_reason() {
        assert_eq!(lines(opens_with_why, "a.sql", "create table t ();\n"), [1]);
        assert!(lines(opens_with_why, "a.sql", "-- Invoices freeze.\n").is_empty());
    }

    #[test]
    fn a_decision_is_titled_with_a_question() {
        let path = "docs/decisions/0001-pool.md";

        assert_eq!(lines(decision_asks, path, "# No pools\n"), [1]);
        assert!(lines(decision_asks, path, "# Why does `append` refuse a pool?\n").is_empty());
        assert!(lines(decision_asks, "docs/operating.md", "# Operating\n").is_empty());
    }

    #[test]
    fn an_open_question_names_its_issue() {
        let rule = open_question_has_issue;

        assert_eq!(lines(rule, "a.rs", "//! A.\n// TODO: later\n"), [2]);
        assert_eq!(lines(rule, "a.sql", "-- A.\nselect 1; -- FIXME\n"), [2]);
        assert!(lines(rule, "a.rs", "// TODO(#12): later\n").is_empty());
        assert!(lines(rule, "a.rs", "let word = \"TODO\";\n").is_empty());
    }

    #[test]
    fn the_variable_of_the_macros_is_not_ours() {
        let rule = foreign_variable;

        assert_eq!(lines(rule, "README.md", "Set\nDATABASE_URL.\n"), [2]);
        assert!(lines(rule, "README.md", "Set BILLING_DATABASE_URL.\n").is_empty());
        assert!(lines(rule, ".cargo/config.toml", "# DATABASE_URL\n").is_empty());
    }
}

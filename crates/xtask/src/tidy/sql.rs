//! SQL: checked against the schema when it is compiled, and found where a reader looks for it.

use super::Finding;
use crate::scan::{Source, is_name_char};

const MACROS: &[&str] = &["query!", "query_as!", "query_scalar!", "query_unchecked!"];
const RUNTIME: &[&str] = &["query", "query_as", "query_scalar", "raw_sql"];

/// First words of statements that no macro can check: they set, copy or define.
const UNCHECKABLE: &[&str] = &[
    "set", "reset", "copy", "create", "alter", "drop", "truncate", "comment", "grant", "revoke",
    "analyze", "vacuum",
];

/// In the domain, the statements of a noun stand together in its `store.rs`.
pub(super) fn macro_outside_store(source: &Source) -> Vec<Finding> {
    if !source.path.starts_with("crates/billing/src/") || in_store(source) || in_checks(source) {
        return Vec::new();
    }
    let macros = MACROS.iter().flat_map(|name| source.code_hits(name));
    let runtime = source.code_hits("sqlx::query");
    let mut offsets: Vec<usize> = macros.chain(runtime).collect();
    offsets.retain(|offset| !source.is_test_code(*offset) && !in_qualified(source, *offset));
    offsets
        .into_iter()
        .map(|offset| {
            let advice = "move the statement into the noun's `store.rs`";
            Finding::at(source, offset, "sql-outside-store", advice)
        })
        .collect()
}

/// A statement given at run time is found wrong by a customer, not by the compiler.
pub(super) fn runtime_query(source: &Source) -> Vec<Finding> {
    let exempt = ["crates/xtask/", "crates/local-postgres/"];
    if exempt.iter().any(|krate| source.path.starts_with(krate)) || in_checks(source) {
        return Vec::new();
    }
    let mut findings = Vec::new();
    for name in RUNTIME {
        let call = format!("sqlx::{name}");
        for offset in source.code_hits(&call) {
            let rest = &source.code[offset + call.len()..];
            let is_call = rest.starts_with('(') || rest.starts_with("::<");
            if is_call && !source.is_test_code(offset) && !is_uncheckable(&source.text[offset..]) {
                let advice = format!("use `sqlx::{name}!`, so that the statement is checked");
                findings.push(Finding::at(source, offset, "runtime-query", advice));
            }
        }
    }
    findings
}

fn in_store(source: &Source) -> bool {
    source
        .path
        .split('/')
        .any(|part| part == "store" || part == "store.rs")
}

fn in_checks(source: &Source) -> bool {
    let names = ["check", "check.rs", "checks", "checks.rs"];
    source.path.split('/').any(|part| names.contains(&part))
}

/// `sqlx::query!` is one finding, not one for the path and one for the macro.
fn in_qualified(source: &Source, offset: usize) -> bool {
    let is_path = source.code[offset..].starts_with("sqlx::");
    let name = source.code[offset..].trim_start_matches("sqlx::");
    is_path && name.trim_start_matches(is_name_char).starts_with('!')
}

/// Whether the first literal of the call begins with a statement that a macro cannot check.
fn is_uncheckable(call: &str) -> bool {
    let Some((_, literal)) = call.split_once('"') else {
        return false;
    };
    let statement = literal.lines().map(str::trim).find(|line| {
        let is_comment = line.starts_with("--");
        !line.is_empty() && !is_comment
    });
    let first = statement.and_then(|line| line.split(|c| !is_name_char(c)).next());
    first.is_some_and(|word| UNCHECKABLE.contains(&word.to_lowercase().as_str()))
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn the_domain_keeps_its_sql_in_stores() {
        let text = "fn f() {\n    sqlx::query!(\"select 1\");\n}\n";
        let rule = macro_outside_store;

        assert_eq!(lines(rule, "crates/billing/src/invoice.rs", text), [2]);
        assert!(lines(rule, "crates/billing/src/invoice/store.rs", text).is_empty());
        assert!(lines(rule, "crates/billing/src/checks/books.rs", text).is_empty());
        assert!(lines(rule, "crates/outbox/src/append.rs", text).is_empty());
    }

    #[test]
    fn a_statement_is_checked_when_it_is_compiled() {
        let unchecked = "sqlx::query(\"select 1\");\nsqlx::query_as::<_, Row>(\n    \"update t\");";
        let path = "crates/outbox/src/append.rs";

        assert_eq!(lines(runtime_query, path, unchecked), [1, 2]);
        assert!(lines(runtime_query, path, "sqlx::query!(\"select 1\");").is_empty());
        assert!(lines(runtime_query, "tests/races.rs", unchecked).is_empty());
        assert!(lines(runtime_query, "crates/billing/src/check.rs", unchecked).is_empty());
    }

    #[test]
    fn what_no_macro_can_check_may_run_unchecked() {
        let path = "crates/outbox/src/partition.rs";

        assert!(
            lines(
                runtime_query,
                path,
                "sqlx::query(\"SET lock_timeout = '1s'\")"
            )
            .is_empty()
        );
        let text = "sqlx::query(AssertSqlSafe(format!(\n    r#\"\n    -- why\n    create table x";
        assert!(lines(runtime_query, path, text).is_empty());
    }
}

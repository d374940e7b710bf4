//! Transactions: an error that came through `tx` has already doomed the transaction.
//!
//! Postgres answers everything after it with "current transaction is aborted", far from the cause.
//! So such a result is always propagated. What follows a `?` is a value and may be defaulted.

use super::Finding;
use crate::scan::{Source, has_word, last_word};

const DROPS: &[&str] = &[
    ".ok()",
    ".unwrap_or(",
    ".unwrap_or_default(",
    ".unwrap_or_else(",
];

pub(super) fn result_dropped(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut start = 0;
    for statement in source.code.split([';', '{', '}']) {
        if let Some(offset) = dropped_at(statement)
            && !source.is_test_code(start)
        {
            let advice = "propagate what came through `tx` with `?`; its transaction is doomed";
            findings.push(Finding::at(
                source,
                start + offset,
                "result-dropped",
                advice,
            ));
        }
        start += statement.len() + 1;
    }
    findings
}

/// Where in the statement a result of `tx` is thrown away.
fn dropped_at(statement: &str) -> Option<usize> {
    if let Some(at) = statement.find("let _ =") {
        return (has_word(statement, "tx") && !statement.contains('?')).then_some(at);
    }
    DROPS.iter().find_map(|drop| {
        let at = statement.find(drop)?;
        let through = last_word(&statement[..at], "tx")?;
        (!statement[through.end..at].contains('?')).then_some(at)
    })
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    fn dropped(text: &str) -> Vec<usize> {
        lines(result_dropped, "crates/billing/src/a.rs", text)
    }

    #[test]
    fn a_result_of_the_transaction_is_not_dropped() {
        assert_eq!(dropped("let _ = lock(tx).await;\n"), [1]);
        assert_eq!(
            dropped("f(x)?;\ninsert()\n    .execute(&mut **tx)\n    .await\n    .ok();"),
            [5]
        );
        assert_eq!(dropped("let n = count(tx).await.unwrap_or(0);"), [1]);
    }

    #[test]
    fn a_value_behind_a_question_mark_may_be_defaulted() {
        assert!(dropped("let n = count(tx).await?.unwrap_or(0);").is_empty());
        assert!(dropped("let n = name.parse().ok();").is_empty());
        assert!(dropped("#[cfg(test)]\nmod tests {\n    let _ = f(tx);\n}").is_empty());
    }
}

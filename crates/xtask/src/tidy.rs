//! `cargo xtask tidy`: the house rules that no compiler and no linter checks.
//!
//! Every rule is a function from a file (or from the manifests) to its findings, and has a test
//! that shows one violation caught and one clean case passed. There is no list of exceptions: a
//! rule that needs one is wrong.

mod dependencies;
mod documents;
mod failpoints;
mod layers;
mod names;
mod size;
mod sql;
mod time;
mod transactions;

use std::fmt;

use anyhow::{Context as _, Result, bail};

use crate::scan::Source;
use crate::workspace::Workspace;

/// One broken rule: where, which, and what to do about it.
pub(crate) struct Finding {
    path: String,
    line: usize,
    rule: &'static str,
    advice: String,
}

impl Finding {
    fn at(source: &Source, offset: usize, rule: &'static str, advice: impl Into<String>) -> Self {
        Finding {
            path: source.path.clone(),
            line: source.line_at(offset),
            rule,
            advice: advice.into(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}: {}",
            self.path, self.line, self.rule, self.advice
        )
    }
}

type Rule = fn(&Source) -> Vec<Finding>;

const RUST_RULES: &[Rule] = &[
    size::file_length,
    size::line_length,
    documents::opens_with_docs,
    documents::open_question_has_issue,
    names::no_mod_rs,
    names::banned_words,
    transactions::result_dropped,
    time::clock_read,
    sql::macro_outside_store,
    sql::runtime_query,
    layers::calls_go_down,
    layers::nats_outside_transport,
];

const SQL_RULES: &[Rule] = &[
    size::file_length,
    size::line_length,
    documents::opens_with_why,
    documents::open_question_has_issue,
];

/// Checks the whole work tree and prints each finding as `file:line: rule: what to do`.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    let sources = workspace.sources()?;
    let mut findings: Vec<Finding> = sources.iter().flat_map(check).collect();
    findings.extend(dependencies::check(&workspace.metadata()?)?);
    let registry = std::fs::read_to_string(workspace.root.join(failpoints::REGISTRY));
    let registry = registry.context("the registry of failpoints cannot be read")?;
    findings.extend(failpoints::check(&sources, &registry));

    for finding in &findings {
        println!("{finding}");
    }
    if !findings.is_empty() {
        bail!(
            "{} findings; each line above says what to do",
            findings.len()
        );
    }
    println!("tidy: {} files are in order", sources.len());
    Ok(())
}

fn check(source: &Source) -> Vec<Finding> {
    let rules = match source.path.as_str() {
        path if path.ends_with(".rs") => RUST_RULES,
        path if path.ends_with("schema.sql") => &[],
        path if path.ends_with(".sql") => SQL_RULES,
        _ => &[],
    };
    let everywhere: &[Rule] = &[documents::decision_asks, documents::foreign_variable];
    rules
        .iter()
        .chain(everywhere)
        .flat_map(|rule| rule(source))
        .collect()
}

/// The lines on which `rule` finds fault with `text` as the file `path`.
#[cfg(test)]
fn lines(rule: Rule, path: &str, text: &str) -> Vec<usize> {
    rule(&Source::new(path, text.to_owned()))
        .iter()
        .map(|finding| finding.line)
        .collect()
}

//! Names: each says what a thing is, in the words of the glossary.

use super::Finding;
use crate::scan::{Source, is_name_char};

/// Words that fit any thing and so name none.
const BANNED: &[&str] = &[
    "job", "task", "manager", "service", "helper", "util", "data", "info", "process",
];

/// What the programs' users call things: the name of an option says it, whatever words it holds.
const OPTIONS: &[&str] = &["data_dir"];

const DECLARATIONS: &[&str] = &[
    "fn ", "struct ", "enum ", "trait ", "type ", "union ", "mod ",
];

pub(super) fn no_mod_rs(source: &Source) -> Vec<Finding> {
    if !source.path.ends_with("/mod.rs") {
        return Vec::new();
    }
    let advice = "name the module's file after the module, beside its folder";
    vec![Finding::at(source, 0, "no-mod-rs", advice)]
}

/// Banned words in the names of types, functions and modules.
///
/// What a foreign trait names is not ours to choose, and the name of a test is a sentence.
pub(super) fn banned_words(source: &Source) -> Vec<Finding> {
    let foreign = trait_impls(&source.code);
    let mut findings = Vec::new();
    for declaration in DECLARATIONS {
        for offset in source.code_hits(declaration) {
            let rest = source.code[offset + declaration.len()..].trim_start();
            let name = rest.split(|c| !is_name_char(c)).next().unwrap_or_default();
            let chosen_elsewhere = foreign.iter().any(|block| block.contains(&offset));
            if chosen_elsewhere || is_test_name(source, offset) {
                continue;
            }
            if let Some(word) = banned_word(name, *declaration == "fn ") {
                let advice = format!("`{name}`: say what it is instead of `{word}`");
                findings.push(Finding::at(source, offset, "banned-name", advice));
            }
        }
    }
    findings
}

fn banned_word(name: &str, is_function: bool) -> Option<String> {
    let words = words(name);
    if OPTIONS.contains(&name) {
        return None;
    }
    if is_function && words.len() > 1 && words[0] == "handle" {
        return Some("handle".to_owned());
    }
    words.into_iter().find(|word| {
        BANNED.iter().any(|banned| match word.strip_prefix(banned) {
            Some(ending) => matches!(ending, "" | "s" | "es"),
            None => false,
        })
    })
}

/// The words of a name in snake or camel case, in lower case.
fn words(name: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut after_lower = false;
    for c in name.chars() {
        if c == '_' || (c.is_uppercase() && after_lower) {
            words.push(String::new());
        }
        after_lower = c.is_lowercase();
        if c != '_' {
            words
                .last_mut()
                .expect("starts with one word")
                .extend(c.to_lowercase());
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// The bodies of `impl Trait for Type` blocks.
fn trait_impls(code: &str) -> Vec<std::ops::Range<usize>> {
    let heads = code.match_indices("impl").filter(|(at, _)| {
        let starts_line = code[..*at].ends_with('\n') || *at == 0 || code[..*at].ends_with(' ');
        starts_line && !code[at + 4..].starts_with(is_name_char)
    });
    heads
        .filter_map(|(at, _)| {
            let open = at + code[at..].find(['{', ';'])?;
            code[at..open]
                .contains(" for ")
                .then(|| open..block_end(code, open))
        })
        .collect()
}

fn block_end(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth <= 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len()
}

/// Whether the function declared at `offset` carries a test attribute.
fn is_test_name(source: &Source, offset: usize) -> bool {
    let before = source.code[..offset].lines().rev().skip(1);
    let mut attributes = before.take_while(|line| {
        let line = line.trim();
        line.is_empty() || line.starts_with("#[")
    });
    attributes.any(|line| line.contains("test"))
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    fn banned(text: &str) -> Vec<usize> {
        lines(banned_words, "crates/billing/src/a.rs", text)
    }

    #[test]
    fn a_module_has_its_own_name() {
        assert_eq!(lines(no_mod_rs, "crates/x/src/a/mod.rs", ""), [1]);
        assert!(lines(no_mod_rs, "crates/x/src/a.rs", "").is_empty());
    }

    #[test]
    fn a_word_that_fits_anything_is_refused() {
        assert_eq!(banned("struct UsageData;\nmod utils;"), [1, 2]);
        assert_eq!(banned("fn run_jobs() {}"), [1]);
        assert_eq!(banned("async fn handle_event() {}"), [1]);
        assert!(banned("struct Metadata;\nfn handle() {}\nfn infoless() {}").is_empty());
    }

    #[test]
    fn a_foreign_trait_may_choose_its_names() {
        let text = "impl sqlx::Type<Postgres> for Id {\n    fn type_info() -> T { x() }\n}\n";

        assert!(banned(text).is_empty());
        assert_eq!(
            banned(&format!("{text}impl Id {{\n    fn info() {{}}\n}}")),
            [5]
        );
    }

    #[test]
    fn the_name_of_a_test_is_a_sentence() {
        let promise = "async fn a_killed_process_resumes() {}";

        assert!(banned(&format!("#[tokio::test]\n{promise}")).is_empty());
        assert_eq!(banned(promise), [1]);
    }
}

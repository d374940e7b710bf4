//! Source files as the checks see them: the text, and the same text with its comments and literals
//! blanked.
//!
//! Both have the same length in bytes, so that an offset found in one is valid in the other. This
//! is no parser: it knows just enough of Rust not to take the word `todo` in a string for a
//! comment.

use std::ops::Range;

/// One tracked file, its path relative to the workspace root with `/` between the parts.
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    /// The text with comments, strings and characters replaced by spaces; line breaks are kept.
    pub(crate) code: String,
    /// The reverse: all but the comments replaced. The whole text where the language is not Rust.
    pub(crate) comments: String,
    /// Where the unit tests at the foot of the file begin; the length of the text if there are
    /// none.
    tests_at: usize,
}

impl Source {
    pub(crate) fn new(path: &str, text: String) -> Self {
        let (code, comments) = if path.ends_with(".rs") {
            split(&text)
        } else {
            (text.clone(), text.clone())
        };
        let tests_at = if is_test_path(path) {
            0
        } else {
            tests_start(&code)
        };
        Source {
            path: path.to_owned(),
            text,
            code,
            comments,
            tests_at,
        }
    }

    pub(crate) fn has_extension(&self, extension: &str) -> bool {
        self.path
            .rsplit_once('.')
            .is_some_and(|(_, last)| last == extension)
    }

    /// The line, counted from one, of a byte of the text.
    pub(crate) fn line_at(&self, offset: usize) -> usize {
        self.text.as_bytes()[..offset]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1
    }

    pub(crate) fn is_test_code(&self, offset: usize) -> bool {
        offset >= self.tests_at
    }

    /// The offsets at which `needle` stands in the code, not as the tail of a longer name.
    pub(crate) fn code_hits<'a>(&'a self, needle: &'a str) -> impl Iterator<Item = usize> + 'a {
        self.code
            .match_indices(needle)
            .map(|(offset, _)| offset)
            .filter(|offset| !self.code[..*offset].ends_with(is_name_char))
    }
}

pub(crate) fn is_name_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether `word` stands in `code` as a name of its own.
pub(crate) fn has_word(code: &str, word: &str) -> bool {
    last_word(code, word).is_some()
}

/// The bytes of the last `word` in `code` that is a name of its own.
pub(crate) fn last_word(code: &str, word: &str) -> Option<Range<usize>> {
    code.rmatch_indices(word)
        .map(|(start, found)| start..start + found.len())
        .find(|at| {
            !code[..at.start].ends_with(is_name_char) && !code[at.end..].starts_with(is_name_char)
        })
}

fn is_test_path(path: &str) -> bool {
    ["tests/", "crates/testkit/", "crates/chaos/"]
        .iter()
        .any(|folder| path.starts_with(folder))
        || ["/tests/", "/benches/", "/examples/"]
            .iter()
            .any(|folder| path.contains(folder))
        || path.ends_with("/tests.rs")
}

/// Unit tests stand at the foot of a file, so everything from their module on is test code.
fn tests_start(code: &str) -> usize {
    const ATTRIBUTE: &str = "#[cfg(test)]";
    code.match_indices(ATTRIBUTE)
        .find(|(at, _)| {
            code[at + ATTRIBUTE.len()..]
                .trim_start()
                .starts_with("mod ")
        })
        .map_or(code.len(), |(at, _)| at)
}

/// The code without comments and literals, and the comments without the rest.
fn split(text: &str) -> (String, String) {
    let bytes = text.as_bytes();
    let (mut code, mut comments) = (Vec::new(), Vec::new());
    while code.len() < bytes.len() {
        let at = code.len();
        let after_name = at > 0 && is_name_char(char::from(bytes[at - 1]));
        let opaque = opaque_length(&bytes[at..], after_name);
        let piece = &bytes[at..at + opaque.max(1)];
        let is_comment = opaque > 0 && piece[0] == b'/';
        code.extend(if opaque > 0 {
            blank(piece)
        } else {
            piece.to_vec()
        });
        comments.extend(if is_comment {
            piece.to_vec()
        } else {
            blank(piece)
        });
    }
    let whole = "comments and literals were taken whole, so no character was halved";
    (
        String::from_utf8(code).expect(whole),
        String::from_utf8(comments).expect(whole),
    )
}

fn blank(piece: &[u8]) -> Vec<u8> {
    piece
        .iter()
        .map(|byte| if *byte == b'\n' { b'\n' } else { b' ' })
        .collect()
}

/// How many bytes the comment or literal takes that begins at the start of `rest`; 0 when none
/// does.
fn opaque_length(rest: &[u8], after_name: bool) -> usize {
    match rest {
        [b'/', b'/', ..] => rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => block_comment_length(rest),
        [b'"', ..] => quoted_length(rest, b'"'),
        [b'\'', ..] => character_length(rest),
        [b'r', ..] if !after_name => raw_string_length(&rest[1..]).map_or(0, |length| length + 1),
        [b'b' | b'c', b'r', ..] if !after_name => {
            raw_string_length(&rest[2..]).map_or(0, |length| length + 2)
        }
        _ => 0,
    }
}

fn block_comment_length(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let step = match &rest[at..] {
            [b'/', b'*', ..] => {
                depth += 1;
                2
            }
            [b'*', b'/', ..] => {
                depth -= 1;
                2
            }
            _ => 1,
        };
        at += step;
        if depth == 0 {
            break;
        }
    }
    at
}

fn quoted_length(rest: &[u8], quote: u8) -> usize {
    let mut at = 1;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    (at + 1).min(rest.len())
}

/// A character literal, told from a lifetime (`'a`) by its closing quote.
fn character_length(rest: &[u8]) -> usize {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(6)]);
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => quoted_length(rest, b'\''),
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

/// The rest of a raw string after its `r`, or nothing when it is another name that begins with `r`.
fn raw_string_length(rest: &[u8]) -> Option<usize> {
    let hashes = rest.iter().take_while(|b| **b == b'#').count();
    if rest.get(hashes) != Some(&b'"') {
        return None;
    }
    let end = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let body = &rest[hashes + 1..];
    let closing = body.windows(end.len()).position(|window| window == end);
    Some(hashes + 1 + closing.map_or(body.len(), |at| at + end.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code_of(text: &str) -> String {
        Source::new("crates/x/src/lib.rs", text.to_owned()).code
    }

    #[test]
    fn comments_and_literals_are_blanked_and_offsets_kept() {
        let text =
            "let a = \"x // y\"; // todo\nlet b = 'é'; /* a /* b */ c */ let c = r#\"q\"d\"#;";

        let code = code_of(text);

        assert_eq!(code.len(), text.len());
        assert_eq!(
            code.split_whitespace().collect::<String>(),
            "leta=;letb=;letc=;"
        );
    }

    #[test]
    fn comments_are_kept_apart_from_strings() {
        let source = Source::new(
            "crates/x/src/a.rs",
            "f(\"// no\"); // yes\n/* and */".into(),
        );

        assert_eq!(
            source.comments.split_whitespace().collect::<String>(),
            "//yes/*and*/"
        );
    }

    #[test]
    fn a_lifetime_does_not_open_a_character() {
        let code = code_of("fn f<'a>(x: &'a str) -> char { '\\'' } fn g() {}");

        assert!(code.contains("&'a str") && code.contains("fn g()"));
        assert!(!code.contains("\\'"));
    }

    #[test]
    fn unit_tests_at_the_foot_are_test_code_and_the_rest_is_not() {
        let source = Source::new(
            "crates/x/src/a.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {}".into(),
        );

        assert!(!source.is_test_code(0));
        assert!(source.is_test_code(source.text.len() - 1));
        assert!(Source::new("tests/races.rs", String::new()).is_test_code(0));
    }

    #[test]
    fn a_word_is_found_only_as_a_whole_name() {
        assert!(has_word("&mut **tx)", "tx"));
        assert!(!has_word("context(txn)", "tx"));
    }
}

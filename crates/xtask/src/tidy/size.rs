//! Size: a file a reader can hold in the head, a line that two windows side by side can show.
//!
//! The length of functions and of argument lists is clippy's business (`clippy.toml`).

use super::Finding;
use crate::scan::Source;

const FILE_LINES_MAX: usize = 400;
const LINE_CHARS_MAX: usize = 100;

pub(super) fn file_length(source: &Source) -> Vec<Finding> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX {
        return Vec::new();
    }
    let advice = format!("{lines} lines, at most {FILE_LINES_MAX}: cut it by noun into two files");
    vec![Finding::at(
        source,
        source.text.len(),
        "file-length",
        advice,
    )]
}

pub(super) fn line_length(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for line in source.text.lines() {
        let chars = line.chars().count();
        if chars > LINE_CHARS_MAX {
            let offset = line.as_ptr() as usize - source.text.as_ptr() as usize;
            let advice = format!("{chars} characters, at most {LINE_CHARS_MAX}: break the line");
            findings.push(Finding::at(source, offset, "line-length", advice));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::lines;
    use super::*;

    #[test]
    fn a_file_may_have_400_lines_and_no_more() {
        assert_eq!(lines(file_length, "a.rs", &"\n".repeat(401)).len(), 1);
        assert!(lines(file_length, "a.rs", &"\n".repeat(400)).is_empty());
    }

    #[test]
    fn a_line_may_have_100_characters_and_no_more() {
        let long = format!("short\n{}\n", "é".repeat(101));

        assert_eq!(lines(line_length, "a.sql", &long), [2]);
        assert!(lines(line_length, "a.sql", &"é".repeat(100)).is_empty());
    }
}

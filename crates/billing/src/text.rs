//! Text from outside: what an id may look like, and how free text is made fit to print.

/// The longest id of an outside system. Resource names of clouds reach 300; an index entry of
/// Postgres must stay below 2,700 bytes.
pub(crate) const ID_CHARS_MAX: usize = 512;
/// The longest name, unit or description that is kept.
pub(crate) const NOTE_CHARS_MAX: usize = 500;

/// RFC 5321: a path is at most 256 characters with its angle brackets.
pub(crate) const EMAIL_CHARS_MAX: usize = 254;

/// Why a text is refused; it completes a sentence that begins with what the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TextProblem {
    /// It has no characters.
    #[error("is empty")]
    Empty,
    /// It has more characters than this.
    #[error("has more than {0} characters")]
    Long(usize),
    /// It has a line break, a NUL or another control character.
    #[error("has a control character in it")]
    Control,
}

/// Accepts what can be stored, compared and shown on one line.
pub(crate) fn check(text: &str, chars_max: usize) -> Result<(), TextProblem> {
    if text.is_empty() {
        return Err(TextProblem::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(TextProblem::Control);
    }
    if text.chars().nth(chars_max).is_some() {
        return Err(TextProblem::Long(chars_max));
    }
    Ok(())
}

/// Free text on one line, cut at the limit. Nothing is identified by it, so it is mended rather
/// than refused.
pub(crate) fn mend(text: &str) -> String {
    text.trim()
        .chars()
        .take(NOTE_CHARS_MAX)
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_one_line_of_bounded_length() {
        assert_eq!(check("arn:aws:ec2/ä", 13), Ok(()));
        assert_eq!(check("arn:aws:ec2/ä", 12), Err(TextProblem::Long(12)));
        assert_eq!(check("", 12), Err(TextProblem::Empty));
        assert_eq!(check("a\0b", 12), Err(TextProblem::Control));
        assert_eq!(check("a\nb", 12), Err(TextProblem::Control));
    }

    #[test]
    fn free_text_is_mended() {
        assert_eq!(mend(" two\nlines\0 "), "two lines ");
        assert_eq!(
            mend(&"ä".repeat(NOTE_CHARS_MAX + 1)),
            "ä".repeat(NOTE_CHARS_MAX)
        );
    }
}

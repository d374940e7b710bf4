//! What went wrong, as a person reads it: each cause once, and what to do about some of them.

use std::error::Error;
use std::io;

/// Ends what is told of a full disk.
const MAKE_ROOM: &str = "the disk is full: make room on it, then run this again";
/// Postgres could not extend a file.
const DISK_FULL: &str = "53100";

/// An error and its causes, outermost first, in one line; then what to do, where we know it.
///
/// Some errors of libraries repeat their cause in their own text, and that of a database error ends
/// with a line number of the server's own source. Both are left out.
#[must_use]
pub fn told(error: &(dyn Error + 'static)) -> String {
    let mut parts = Vec::new();
    let mut advice = None;
    let mut cause = Some(error);
    while let Some(error) = cause {
        advice = advice.or_else(|| is_disk_full(error).then_some(MAKE_ROOM));
        cause = error.source();
        let text = own_text(error);
        if !text.is_empty() && parts.last() != Some(&text) {
            parts.push(text);
        }
    }
    parts.extend(advice.map(str::to_owned));
    parts.join(": ")
}

/// What an error says beyond its cause.
fn own_text(error: &(dyn Error + 'static)) -> String {
    if let Some(database) = database_error(error) {
        return database.message().to_owned();
    }
    let text = error.to_string();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    let own = text.strip_suffix(&cause).unwrap_or(&text);
    own.trim_end().trim_end_matches(':').to_owned()
}

type DatabaseError = Box<dyn sqlx::error::DatabaseError>;

fn database_error<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a DatabaseError> {
    error.downcast_ref()
}

fn is_disk_full(error: &(dyn Error + 'static)) -> bool {
    let file = error.downcast_ref::<io::Error>();
    file.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
        || database_error(error).is_some_and(|error| error.code().as_deref() == Some(DISK_FULL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("the work stopped")]
    struct Outer(#[source] sqlx::Error);

    #[test]
    fn a_cause_that_its_wrapper_repeats_is_told_once() {
        let refused = || io::Error::new(io::ErrorKind::ConnectionRefused, "nobody listens");

        let naive = Outer(refused().into());
        let naive = format!("{naive}: {}", naive.source().unwrap());
        assert!(naive.ends_with("with database: nobody listens"), "{naive}");

        assert_eq!(
            told(&Outer(refused().into())),
            "the work stopped: error communicating with database: nobody listens"
        );
    }

    #[test]
    fn a_full_disk_is_answered_with_advice() {
        let full = Outer(io::Error::from(io::ErrorKind::StorageFull).into());

        assert!(told(&full).ends_with(MAKE_ROOM), "{}", told(&full));
    }
}

//! Planted bugs: what billing systems get wrong, put in on purpose, for the harness that must find
//! them. One is chosen by the variable `PLANTED`, such as `B10`.
//!
//! Built with the feature `planted` only, and never for a release.

#[cfg(all(feature = "planted", not(debug_assertions)))]
compile_error!("the feature `planted` makes programs wrong on purpose: not for a release");

/// Whether the program is to have this bug.
#[cfg(feature = "planted")]
#[must_use]
pub fn is(bug: &str) -> bool {
    chosen() == Some(bug)
}

/// The bug that the program is to have.
#[cfg(feature = "planted")]
pub(crate) fn chosen() -> Option<&'static str> {
    use std::sync::LazyLock;
    static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("PLANTED").ok());
    CHOSEN.as_deref()
}

/// Never.
#[cfg(not(feature = "planted"))]
#[must_use]
pub const fn is(_bug: &str) -> bool {
    false
}

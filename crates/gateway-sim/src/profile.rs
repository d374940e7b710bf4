//! Profiles: where gateways differ, and a naive retry breaks. A profile is a set of facts.
//!
//! | name | what is different |
//! |---|---|
//! | `default` | nothing: a key is worked on until there is an answer, and that is repeated |
//! | `saves-errors` | an error is the answer to its key for ever; no cancelling |
//! | `forgets-errors` | after an error its key is free, even if it was charged; no cancelling |
//! | `in-progress` | 409 while the first request with the key is under way |
//! | `throttles` | 429 with `Retry-After` at a key's first request |
//! | `no-keys` | keys mean nothing: each request charges; no cancelling |
//! | `short-keys` | keys are known for two seconds |
//! | `late-look-ups` | what happened is found by its reference five seconds later; no cancelling |
//! | `strict-bodies` | a body that differs by a byte is another request |

use std::time::Duration;

/// As long as the shortest of the gateways that we know keeps keys.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// What a key means after its request ended in an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Errors {
    /// The request goes on: the same key finishes it, or is told what it did.
    GoOn,
    /// The same key is told the same error, whatever it did.
    Repeat,
    /// The same key is a new one, whatever it did.
    Forget,
}

/// What makes a body with a known key another request, which is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bodies {
    /// Another content.
    Content,
    /// Another byte.
    Bytes,
}

/// How a gateway keeps its promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Profile {
    /// By which it is chosen.
    pub name: &'static str,
    /// How long a used key is known; none when keys mean nothing.
    pub key_lifetime: Option<Duration>,
    /// What an error leaves of its key.
    pub errors: Errors,
    /// Which bodies are the same.
    pub bodies: Bodies,
    /// Whether a key whose first request is under way is refused; otherwise it waits for it.
    pub refuses_in_progress: bool,
    /// Whether each key is turned away once.
    pub throttles: bool,
    /// How long a look-up by reference lags behind.
    pub look_up_lag: Duration,
    /// Whether a key can be burnt.
    pub cancels_by_key: bool,
}

impl Profile {
    /// The usual one.
    pub const DEFAULT: Self = Self {
        name: "default",
        key_lifetime: Some(DAY),
        errors: Errors::GoOn,
        bodies: Bodies::Content,
        refuses_in_progress: false,
        throttles: false,
        look_up_lag: Duration::ZERO,
        cancels_by_key: true,
    };

    /// All of them, the usual one first.
    pub const ALL: [Self; 9] = [
        Self::DEFAULT,
        Self {
            name: "saves-errors",
            errors: Errors::Repeat,
            cancels_by_key: false,
            ..Self::DEFAULT
        },
        Self {
            name: "forgets-errors",
            errors: Errors::Forget,
            cancels_by_key: false,
            ..Self::DEFAULT
        },
        Self {
            name: "in-progress",
            refuses_in_progress: true,
            ..Self::DEFAULT
        },
        Self {
            name: "throttles",
            throttles: true,
            ..Self::DEFAULT
        },
        Self {
            name: "no-keys",
            key_lifetime: None,
            cancels_by_key: false,
            ..Self::DEFAULT
        },
        Self {
            name: "short-keys",
            key_lifetime: Some(Duration::from_secs(2)),
            ..Self::DEFAULT
        },
        Self {
            name: "late-look-ups",
            look_up_lag: Duration::from_secs(5),
            cancels_by_key: false,
            ..Self::DEFAULT
        },
        Self {
            name: "strict-bodies",
            bodies: Bodies::Bytes,
            ..Self::DEFAULT
        },
    ];

    /// The one of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|profile| profile.name == name)
    }
}

impl Default for Profile {
    fn default() -> Self {
        Self::DEFAULT
    }
}

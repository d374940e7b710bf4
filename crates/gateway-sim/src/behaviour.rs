//! Behaviours: what the gateway does is chosen by the text of the card's token.
//!
//! | token begins with | what happens |
//! |---|---|
//! | `tok_approve` | captured |
//! | `tok_decline` | declined for good (`do_not_honor`) |
//! | `tok_soft_then_ok` | first declined softly (`insufficient_funds`), then captured |
//! | `tok_timeout_charged` | captured, then no answer for 60 s (or until the client leaves) |
//! | `tok_500_then_ok` | 500 and no charge at a key's first request, then captured |
//! | `tok_500_once` | 500 and no charge at the token's first request, then captured |
//! | `tok_busy_then_ok` | 503 `busy` and no charge at a key's first request, then captured |
//! | `tok_slow` | captured at once, answered after 3 s |
//! | `tok_late` | held for 3 s on its way, then captured, whether or not the client still waits |
//! | `tok_dup_webhook` | captured, its webhook is sent twice |
//! | `tok_early_webhook` | captured, its webhook comes before the answer |
//! | `tok_wrong_amount` | half the amount is captured, rounded up, and answered |
//! | anything else | declined with status 402 (`unknown_card`) |
//!
//! A part like `_5000ms` anywhere in a token that waits says how long. A repeated request (same
//! key, same body) finds its first answer in the books and is given it at once.

use std::time::Duration;

/// Longer than any client's patience.
const TIMEOUT_HOLD: Duration = Duration::from_secs(60);
const SLOW_WAIT: Duration = Duration::from_secs(3);
/// A mistyped wait must not hold a connection for days.
const WAIT_MAX: Duration = Duration::from_secs(600);

/// What a token makes the gateway do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Approve,
    Decline,
    SoftThenOk,
    TimeoutCharged(Duration),
    FailThenOk,
    FailOnce,
    BusyThenOk,
    Slow(Duration),
    Late(Duration),
    DuplicateWebhook,
    EarlyWebhook,
    WrongAmount,
    UnknownCard,
}

/// The beginnings of tokens, with what each chooses.
const TABLE: &[(&str, Behaviour)] = &[
    ("tok_approve", Behaviour::Approve),
    ("tok_decline", Behaviour::Decline),
    ("tok_soft_then_ok", Behaviour::SoftThenOk),
    (
        "tok_timeout_charged",
        Behaviour::TimeoutCharged(TIMEOUT_HOLD),
    ),
    ("tok_500_then_ok", Behaviour::FailThenOk),
    ("tok_500_once", Behaviour::FailOnce),
    ("tok_busy_then_ok", Behaviour::BusyThenOk),
    ("tok_slow", Behaviour::Slow(SLOW_WAIT)),
    ("tok_late", Behaviour::Late(SLOW_WAIT)),
    ("tok_dup_webhook", Behaviour::DuplicateWebhook),
    ("tok_early_webhook", Behaviour::EarlyWebhook),
    ("tok_wrong_amount", Behaviour::WrongAmount),
];

impl Behaviour {
    /// The behaviour that the token chooses.
    pub(crate) fn of(token: &str) -> Self {
        let chosen = TABLE.iter().find(|(prefix, _)| token.starts_with(prefix));
        let wait = |usual| written_wait(token).unwrap_or(usual);
        match chosen.map_or(Self::UnknownCard, |(_, behaviour)| *behaviour) {
            Self::TimeoutCharged(usual) => Self::TimeoutCharged(wait(usual)),
            Self::Slow(usual) => Self::Slow(wait(usual)),
            Self::Late(usual) => Self::Late(wait(usual)),
            other => other,
        }
    }
}

/// The wait that a part such as `5000ms` names.
fn written_wait(token: &str) -> Option<Duration> {
    let mut parts = token.split('_').filter_map(|part| part.strip_suffix("ms"));
    let ms = parts.find_map(|digits| digits.parse().ok())?;
    Some(Duration::from_millis(ms).min(WAIT_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_a_token_chooses() {
        assert_eq!(Behaviour::of("tok_approve_acme"), Behaviour::Approve);
        assert_eq!(Behaviour::of("tok_decline"), Behaviour::Decline);
        assert_eq!(Behaviour::of("tok_500_then_ok"), Behaviour::FailThenOk);
        assert_eq!(Behaviour::of("tok_none"), Behaviour::UnknownCard);
        assert_eq!(Behaviour::of("my_tok_approve"), Behaviour::UnknownCard);
    }

    #[test]
    fn a_token_may_say_how_long_it_waits() {
        let slow = |ms| Behaviour::Slow(Duration::from_millis(ms));

        assert_eq!(Behaviour::of("tok_slow"), slow(3_000));
        assert_eq!(Behaviour::of("tok_slow_5000ms"), slow(5_000));
        assert_eq!(Behaviour::of("tok_slow_5ms_acme"), slow(5));
        assert_eq!(Behaviour::of("tok_slow_99999999ms"), slow(600_000));
        assert_eq!(Behaviour::of("tok_slow_forms"), slow(3_000));
    }
}

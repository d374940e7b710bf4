//! Capabilities: in what gateways differ, as far as decisions need to know, and the rule for a call
//! whose outcome is unknown and which the gateway, asked for it, does not find.
//!
//! That it is not found proves nothing: the request may still be on its way, or the look-up lag
//! behind. Only the same key and its burning give a definite answer. Where there is neither, time
//! is given to whatever is under way, and then a person has to find out.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Longer than a request is on its way, through whatever stands between and however often that
/// tries again. By then a look-up without lag shows what the last byte that was sent has done.
pub const ON_ITS_WAY_MAX: TimeDelta = TimeDelta::minutes(15);

/// What a gateway can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// How long after the first call the same key makes no second charge, whatever the first call
    /// came to: well below what the gateway promises. None where it may make one.
    pub key_lifetime: Option<Duration>,
    /// Whether an error is the answer to its key for ever: then the same key may tell nothing.
    pub saves_errors: bool,
    /// How long after a charge it is found by our reference; none where it cannot be asked for.
    pub look_up_lag: Option<Duration>,
    /// Whether a key can be burnt, so that nothing comes of its call any more.
    pub cancels_by_key: bool,
}

/// A call whose outcome is unknown, and which the gateway does not find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Silence {
    /// When it was sent first.
    pub sent_at: DateTime<Utc>,
    /// Until then its key is safe.
    pub deadline: DateTime<Utc>,
    /// Whether the world still asks for it.
    pub is_wanted: bool,
}

/// What is done about silence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The same key once more.
    SendAgain,
    /// Make sure that nothing comes of it any more.
    Burn,
    /// Nothing yet.
    AskLater,
    /// A person has to find out.
    HandOver,
}

impl Capabilities {
    /// Until when the key of a call that is first made now is safe.
    #[must_use]
    pub fn deadline(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        now + self.key_lifetime.unwrap_or_default()
    }

    /// What is done about a call that the gateway does not find.
    #[must_use]
    pub fn after(&self, silence: &Silence, now: DateTime<Utc>) -> Step {
        let shown_at = silence.sent_at + ON_ITS_WAY_MAX + self.look_up_lag.unwrap_or_default();
        // An error that was saved is told at once: who has heard it all that time learns no more.
        let is_of_use = !self.saves_errors || now < shown_at;
        let is_safe = self.key_lifetime.is_some() && now < silence.deadline;
        if silence.is_wanted && is_safe && is_of_use {
            Step::SendAgain
        } else if self.cancels_by_key && (!silence.is_wanted || now >= shown_at) {
            Step::Burn
        } else if now < shown_at {
            Step::AskLater
        } else {
            Step::HandOver
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(20 * 3600);
    const LAG: Duration = Duration::from_secs(5);
    const BEST: Capabilities = Capabilities {
        key_lifetime: Some(DAY),
        saves_errors: false,
        look_up_lag: Some(Duration::ZERO),
        cancels_by_key: true,
    };

    fn all() -> impl Iterator<Item = Capabilities> {
        let flags = |nth: u32, bit: u32| nth & (1 << bit) != 0;
        (0..16).map(move |nth| Capabilities {
            key_lifetime: flags(nth, 0).then_some(DAY),
            saves_errors: flags(nth, 1),
            look_up_lag: flags(nth, 2).then_some(LAG),
            cancels_by_key: flags(nth, 3),
        })
    }

    /// So many seconds after it was sent.
    fn step(capabilities: Capabilities, seconds: i64, is_wanted: bool) -> Step {
        let sent_at = DateTime::UNIX_EPOCH;
        let silence = Silence {
            sent_at,
            deadline: capabilities.deadline(sent_at),
            is_wanted,
        };
        capabilities.after(&silence, sent_at + TimeDelta::seconds(seconds))
    }

    const SECONDS: [i64; 7] = [0, 4, 899, 904, 906, 71_999, 200_000];

    #[test]
    fn a_key_that_may_charge_again_is_never_sent_again() {
        for capabilities in all() {
            for seconds in SECONDS {
                let again = step(capabilities, seconds, true) == Step::SendAgain;

                let is_safe = capabilities.key_lifetime.is_some() && seconds < 72_000;
                assert!(is_safe || !again, "{capabilities:?} {seconds}");
            }
        }
    }

    #[test]
    fn what_nobody_wants_any_more_is_never_sent_again() {
        for capabilities in all() {
            for seconds in SECONDS {
                assert_ne!(step(capabilities, seconds, false), Step::SendAgain);
            }
        }
    }

    #[test]
    fn only_a_gateway_that_cancels_is_asked_to() {
        for capabilities in all() {
            for (seconds, is_wanted) in SECONDS.iter().flat_map(|one| [(*one, true), (*one, false)])
            {
                let burns = step(capabilities, seconds, is_wanted) == Step::Burn;
                assert!(capabilities.cancels_by_key || !burns, "{capabilities:?}");
            }
        }
    }

    #[test]
    fn a_person_is_asked_only_after_the_lag_and_always_in_the_end() {
        for capabilities in all() {
            for seconds in [0, 4, 899] {
                assert_ne!(step(capabilities, seconds, true), Step::HandOver);
            }
            let end = step(capabilities, 200_000, true);
            assert!(
                matches!(end, Step::Burn | Step::HandOver),
                "{capabilities:?}"
            );
        }
    }

    #[test]
    fn a_saved_error_is_not_asked_for_for_ever() {
        let saves = Capabilities {
            saves_errors: true,
            ..BEST
        };

        assert_eq!(step(saves, 4, true), Step::SendAgain);
        assert_eq!(step(saves, 1_000, true), Step::Burn);
        assert_eq!(step(BEST, 1_000, true), Step::SendAgain);
    }

    #[test]
    fn a_charge_under_way_is_not_burnt_while_it_is_wanted() {
        let keyless = Capabilities {
            key_lifetime: None,
            ..BEST
        };

        assert_eq!(step(keyless, 4, true), Step::AskLater);
        assert_eq!(step(keyless, 1_000, true), Step::Burn);
        assert_eq!(step(keyless, 4, false), Step::Burn);
    }
}

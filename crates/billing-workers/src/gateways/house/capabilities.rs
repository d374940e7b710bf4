//! What the house's gateway can do, by its profile.

use std::time::Duration;

use billing::gateway::Capabilities;
use gateway_sim::{Errors, Profile};

/// What is left of a key's life for clocks that differ, for a program that is frozen between its
/// look at the clock and its call, and for the call. A key that lives no longer is as good as none.
const KEY_MARGIN: Duration = Duration::from_secs(4 * 3600);

pub(super) fn of(profile: Profile) -> Capabilities {
    // A key that an error frees may have charged before the error.
    let lasting = profile
        .key_lifetime
        .filter(|_| profile.errors != Errors::Forget);
    Capabilities {
        key_lifetime: lasting
            .and_then(|lifetime| lifetime.checked_sub(KEY_MARGIN))
            .filter(|left| !left.is_zero()),
        saves_errors: profile.errors == Errors::Repeat,
        look_up_lag: Some(profile.look_up_lag),
        cancels_by_key: profile.cancels_by_key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lifetime(name: &str) -> Option<Duration> {
        of(Profile::named(name).unwrap()).key_lifetime
    }

    #[test]
    fn a_key_is_relied_on_well_inside_its_life_and_only_if_it_lasts() {
        let hours = |hours: u64| Some(Duration::from_secs(hours * 3600));

        assert_eq!(lifetime("default"), hours(20));
        assert_eq!(lifetime("saves-errors"), hours(20));
        for short in ["no-keys", "short-keys", "forgets-errors"] {
            assert_eq!(lifetime(short), None, "{short}");
        }
    }
}

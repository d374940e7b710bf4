//! The deliveries that this process claims and is still busy with.
//!
//! A claim that is its own and not among them is one whose answer was lost on the way, or whose end
//! could not be written: nobody works on it, and nobody need wait until it runs out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Those of one consumer, by their events. Several claims of an event can be under way: one that
/// was taken away by another process and came back, while its first attempt has not noticed yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashMap<Uuid, usize>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    among: InHand,
    event: Uuid,
}

impl InHand {
    pub(crate) fn hold(&self, event: Uuid) -> Held {
        *self.events().entry(event).or_default() += 1;
        let among = self.clone();
        Held { among, event }
    }

    pub(crate) fn all(&self) -> Vec<Uuid> {
        self.events().keys().copied().collect()
    }

    fn events(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        // A map is whole whoever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut events = self.among.events();
        if let Some(claims) = events.get_mut(&self.event) {
            *claims -= 1;
            if *claims == 0 {
                events.remove(&self.event);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_in_hand_until_the_last_of_its_claims_has_ended() {
        let in_hand = InHand::default();
        let event = Uuid::from_u128(7);
        let taken_away = in_hand.hold(event);
        let came_back = in_hand.hold(event);

        drop(taken_away);
        assert_eq!(in_hand.all(), [event]);
        drop(came_back);
        assert!(in_hand.all().is_empty());
    }
}

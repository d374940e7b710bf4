//! The deliveries that this process claims and is still busy with.
//!
//! A claim that is its own and not among them is one whose answer was lost on the way, or whose end
//! could not be written: nobody works on it, and nobody need wait until it runs out.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use uuid::Uuid;

/// Those of one consumer, by their events.
#[derive(Debug, Clone, Default)]
pub(crate) struct InHand(Arc<Mutex<HashSet<Uuid>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    among: InHand,
    event: Uuid,
}

impl InHand {
    pub(crate) fn hold(&self, event: Uuid) -> Held {
        self.events().insert(event);
        let among = self.clone();
        Held { among, event }
    }

    pub(crate) fn all(&self) -> Vec<Uuid> {
        self.events().iter().copied().collect()
    }

    fn events(&self) -> MutexGuard<'_, HashSet<Uuid>> {
        // A set is whole whoever panicked beside it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.among.events().remove(&self.event);
    }
}

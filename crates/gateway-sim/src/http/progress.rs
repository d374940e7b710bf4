//! Keys whose request is under way, at a gateway that refuses a second one meanwhile.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use axum::http::StatusCode;

use crate::answer::Refusal;

/// The keys under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct Progress(Arc<Mutex<HashSet<String>>>);

/// A request under way; dropped, it no longer is.
pub(super) struct Underway {
    progress: Progress,
    key: String,
}

impl Progress {
    pub(super) fn enter(&self, key: &str) -> Result<Underway, Refusal> {
        // A panic of another request left nothing half done.
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.insert(key.to_owned()) {
            return Ok(Underway {
                progress: self.clone(),
                key: key.to_owned(),
            });
        }
        let message = "The first request with this key is under way; ask again later.";
        Err(Refusal::new(StatusCode::CONFLICT, "in_progress", message))
    }
}

impl Drop for Underway {
    fn drop(&mut self) {
        let mut keys = self
            .progress
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.remove(&self.key);
    }
}

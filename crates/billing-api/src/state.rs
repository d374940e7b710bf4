//! State: what the handlers work with.

use axum::extract::FromRef;
use billing::gateway::Gateways;
use outbox::Outbox;

/// The log and the gateways.
#[derive(Debug, Clone)]
pub(crate) struct AppState {
    pub(crate) outbox: Outbox,
    pub(crate) gateways: Gateways,
}

impl FromRef<AppState> for Outbox {
    fn from_ref(state: &AppState) -> Self {
        state.outbox.clone()
    }
}

impl FromRef<AppState> for Gateways {
    fn from_ref(state: &AppState) -> Self {
        state.gateways.clone()
    }
}

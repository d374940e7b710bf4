//! Cancelling by key: the fence against a request that is still on its way.
//!
//! A look-up that finds nothing proves nothing: the request may land a minute later. Once its key
//! is burnt, it cannot; and if it was faster, the caller is told what it did.

use axum::http::StatusCode;
use serde_json::json;

use super::key::{self, Use};
use super::{Page, Written, lookup};
use crate::answer::Answer;
use crate::request::CancelRequest;

/// Burns a key that was not used, or tells the charge that it made.
pub(super) fn cancel_by_key(page: &Page<'_>, order: &CancelRequest) -> rusqlite::Result<Written> {
    let key = &order.idempotency_key;
    if !page.rules.profile.cancels_by_key {
        return Ok(Written::refused(
            StatusCode::NOT_FOUND,
            "not_found",
            "This gateway does not cancel by key.",
        ));
    }
    let told = match key::used_for(page, key)? {
        Use::Never => {
            key::burn(page, key)?;
            json!({ "status": "cancelled", "charge": null })
        }
        Use::Burnt => json!({ "status": "cancelled", "charge": null }),
        Use::Charge(number) => {
            json!({ "status": "used", "charge": lookup::charge(page.tx, number)? })
        }
        Use::Refund => {
            return Ok(Written::refused(
                StatusCode::CONFLICT,
                "key_reused",
                "This key was used for a refund.",
            ));
        }
    };
    Ok(Written::told(Answer::new(StatusCode::OK, &told)))
}

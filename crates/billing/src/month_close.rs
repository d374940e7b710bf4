//! The month close.

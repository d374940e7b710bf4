//! Billing periods.

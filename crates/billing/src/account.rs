//! Accounts of customers.

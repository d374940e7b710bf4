//! The history of an aggregate, read from the log.

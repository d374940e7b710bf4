//! Transports carry the log from the relay to the workers. A position means the same in each, so
//! that they can be exchanged without loss or repeats.

pub mod postgres;

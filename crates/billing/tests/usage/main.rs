//! From a file or a meter to sums that a close can read.

mod accounts;
mod bad_files;
mod import;
mod periods;
mod record;
mod world;

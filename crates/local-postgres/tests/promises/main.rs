//! What the private cluster promises, tried on real servers.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod accounts;
mod crashes;
mod scene;
mod settings;
mod sharing;

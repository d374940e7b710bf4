//! What the consumer of payments promises, with a gateway over HTTP and a database of each test's
//! own. At the end of each the gateway's statement and the books agree.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod changed;
mod connections;
mod crashes;
mod crowd;
mod gate;
mod hand;
mod orders;
mod outcomes;
mod permutations;
mod planted;
mod profiles;
mod proxy;
mod raw;
mod refunds;
mod sessions;
mod side_by_side;
mod site;
mod webhooks;
mod world;

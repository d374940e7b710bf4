//! What refunds promise, with a gateway over HTTP and a database of each test's own. At the end of
//! each the gateway's statement is the cash account.

#![expect(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod calls;
mod crowd;
#[path = "../payments/gate.rs"]
#[expect(dead_code, reason = "the tests of payments need more of it")]
mod gate;
#[path = "../payments/hand.rs"]
#[expect(dead_code, reason = "the tests of payments need more of it")]
mod hand;
mod limits;
mod silent;
mod till;
#[path = "../payments/world.rs"]
#[expect(dead_code, reason = "the tests of payments need more of it")]
mod world;

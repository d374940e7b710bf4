//! A payment gateway with books of its own, for the sample run, the tests and the faults.
//!
//! Like a real one it stands apart: it is reached over HTTP only, writes one SQLite file that
//! nobody else touches, forgets idempotency keys after a while, announces results by signed
//! webhooks and draws up a statement. Unlike a real one it does what the card's token says:
//! decline, time out after charging, answer late, capture another amount.
//!
//! Several programs may ask for the gateway of one folder. The first keeps the books; the others
//! join it and stand in line, so that the next one goes on when it stops or is killed:
//!
//! ```no_run
//! # async fn example() -> Result<(), gateway_sim::StartError> {
//! let gateway = gateway_sim::GatewaySim::at("var/gateway").start_or_join().await?;
//! println!("charge at {}/v1/charges", gateway.url());
//! # Ok(())
//! # }
//! ```
//!
//! The requests are listed in `http.rs`, what the tokens do in `behaviour.rs`, and in what gateways
//! differ in `profile.rs`.

mod answer;
mod behaviour;
mod books;
mod card_number;
mod charge;
mod client;
mod clock;
mod folder;
mod http;
mod postman;
mod profile;
mod request;
mod running;
mod serve;
mod signature;
mod simulator;

pub use books::BooksError;
pub use folder::FolderError;
pub use profile::{Bodies, Errors, Profile};
pub use running::{Address, Running};
pub use signature::{SIGNATURE_HEADER, SignatureError, TIMESTAMP_HEADER, verify};
pub use simulator::{GatewaySim, StartError};

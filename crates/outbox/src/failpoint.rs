//! Failpoints: named places at which a program fails on purpose, for whoever tests what happens
//! then.
//!
//! `failpoint!("relay.before_cut")?` does nothing, and not even the name is in the program, unless
//! the feature `failpoints` is on; and nothing with it, unless a plan names it. The plan is the
//! file `plan` in the folder that `FAILPOINTS` names, read again whenever it has changed:
//!
//! ```text
//! relay.before_cut kill@2
//! payment.departed error
//! close.chunk delay(200)@1
//! ```
//!
//! | action | what happens |
//! |---|---|
//! | `kill` | the process ends on the spot, as by `kill -9` |
//! | `error` | the caller gets an error; behind an effect this is an acknowledgement that is lost |
//! | `delay(MS)` | it waits so many milliseconds |
//! | `hang` | it never goes on |
//! | `barrier(NAME)` | it leaves `waiting/NAME` and waits for `open/NAME` |
//!
//! `@n` is the nth time that a process comes there, and fires in the first process only; without it
//! a failpoint fires each time. A point that was reached leaves its name in `reached/`, one that
//! fired at its nth time leaves `fired/NAME@n`.

#[cfg(feature = "failpoints")]
mod planned;

#[cfg(feature = "failpoints")]
pub use planned::reach;
/// What a caller gets at a failpoint that is planned to fail.
pub use sqlx::Error;

/// Comes to a failpoint, in an `async` function. `Ok` unless it is planned to fail there.
#[cfg(feature = "failpoints")]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        $crate::failpoint::reach($name).await
    };
}

/// Comes to a failpoint, in an `async` function. Without the feature `failpoints` always `Ok`.
#[cfg(not(feature = "failpoints"))]
#[macro_export]
macro_rules! failpoint {
    ($name:literal) => {
        ::core::result::Result::<(), $crate::failpoint::Error>::Ok(())
    };
}

#[cfg(all(feature = "failpoints", not(debug_assertions)))]
compile_error!("the feature `failpoints` makes programs fail on purpose: not for a release");

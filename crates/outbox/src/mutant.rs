//! Mutants: variants of the engine that are wrong on purpose, one of which a run of the tests may
//! choose by the variable `OUTBOX_MUTANT`. Each has a test that must notice it, see
//! `cargo xtask mutants`; a promise whose test passes without it is not tested.
//!
//! Built with the feature `mutants` only, and never for a release.

#[cfg(all(feature = "mutants", not(debug_assertions)))]
compile_error!("the feature `mutants` makes the engine wrong on purpose: not for a release");

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// A diff of two snapshots leaves out who was open in the first, as a cursor on ids does.
    LateOnesForgotten,
    /// Answers are rolled back with a fence that was lost.
    ResultsRolledBack,
    /// Two events of a key are called for at once.
    OneRound,
    /// A slow call leaves its batch without a delivery.
    StragglerUnmarked,
    /// An event's id is drawn when its unit of work begins, before any lock was taken.
    IdsBeforeLock,
    /// What a stream is told may be lost by a crash of the server.
    #[cfg(feature = "nats")]
    TickNotDurable,
    /// The key of a position is its only fence: pruned, the row can be inserted again.
    FenceByKeyAlone,
    /// Events behind one in trouble are marked as blocked, and its end takes the marks away.
    BlockedFlag,
    /// Later events of a key do not wait for the one in trouble.
    KeysNotBlocked,
    /// Members are appended without asking whether their batch is sealed.
    MemberAfterSeal,
    /// Handlers settle in REPEATABLE READ, with a snapshot from before their position is asked for.
    OldSnapshot,
    /// A batch is locked, and looked at whether it is done, in one statement.
    BatchInOneStatement,
    /// A replay leaves the old generation open.
    GenerationLeftOpen,
    /// Other shards are counted in the generation that is read, at once in all processes that look.
    ShardsInPlace,
    /// A rebase trusts transaction ids of another cluster.
    ForeignIdsTrusted,
}

/// Whether the engine is to be wrong in this way.
#[cfg(feature = "mutants")]
pub(crate) fn is(mutant: Mutant) -> bool {
    std::env::var("OUTBOX_MUTANT").is_ok_and(|chosen| chosen == format!("{mutant:?}"))
}

/// In whole programs, as a planted bug under its name.
#[cfg(all(feature = "planted", not(feature = "mutants")))]
pub(crate) fn is(mutant: Mutant) -> bool {
    crate::planted::chosen().is_some_and(|chosen| chosen == format!("{mutant:?}"))
}

/// Never.
#[cfg(not(any(feature = "mutants", feature = "planted")))]
pub(crate) const fn is(_: Mutant) -> bool {
    false
}

/// The wrong one of two ways if the engine is to be wrong in this one.
pub(crate) fn either<T>(mutant: Mutant, wrong: T, right: T) -> T {
    if is(mutant) { wrong } else { right }
}

//! The mutants of the engine and of the schema of its tests.

use self::Simulated::{Breaks, Lacks};

/// A way of being wrong.
pub(super) struct Known {
    /// As `OUTBOX_MUTANT` names it.
    pub(super) name: &'static str,
    /// The test of the promise that it breaks.
    pub(super) test: &'static str,
    /// What that test says then.
    pub(super) says: &'static str,
    pub(super) simulated: Simulated,
}

/// What the simulation can make of it.
pub(super) enum Simulated {
    /// The invariants that it breaks; one that fails is enough.
    Breaks(&'static [&'static str]),
    /// What it would take, and the simulation has not.
    Lacks(&'static str),
}

const EVERYTHING: &str = "everything is handled";
const ONCE: &str = "each event is handled once by each consumer";
const ORDERED: &str = "the events of a key and lane are handled in the order of their commits";
const ENDED: &str = "a batch ends once all of it is handled";

pub(super) const KNOWN: &[Known] = &[
    Known {
        name: "LateOnesForgotten",
        test: "ticks::every_committed_event_is_read_once_in_commit_order_per_key",
        says: "failed: seed ",
        simulated: Breaks(&[EVERYTHING]),
    },
    Known {
        name: "OldestHoldsUp",
        test: "drawn::an_open_transaction_delays_only_itself",
        says: "an open transaction delays only itself",
        simulated: Breaks(&[ORDERED]),
    },
    Known {
        name: "IdBeforeXid",
        test: "drawn::an_event_that_was_slow_to_be_numbered_is_not_lost_below_the_floor",
        says: "an event is lost below the floor",
        simulated: Lacks("writers that append before they write anything else"),
    },
    Known {
        name: "IdsInBlocks",
        test: "ticks::events_of_a_key_are_read_as_they_were_committed_unless_ids_are_cached",
        says: "the order of the commits",
        // An id of a block that was begun long ago is below the floor.
        simulated: Breaks(&[ORDERED, EVERYTHING]),
    },
    Known {
        name: "IdsBeforeLock",
        test: "drawn::events_of_a_key_are_read_in_the_order_of_its_lock",
        says: "the order of the lock",
        simulated: Breaks(&[ORDERED]),
    },
    Known {
        name: "TickNotDurable",
        test: "jetstream::durable::what_a_stream_is_told_of_is_on_the_disk",
        says: "it is published and may be lost",
        simulated: Lacks("a stream, and a server that crashes"),
    },
    Known {
        name: "FenceByKeyAlone",
        test: "fence::a_worker_frozen_before_it_settles_loses_even_after_the_rows_were_pruned",
        says: "the frozen one settles nothing",
        simulated: Breaks(&[ONCE]),
    },
    Known {
        name: "ResultsRolledBack",
        test: "external::an_answer_is_recorded_though_the_shard_was_lost",
        says: "in vain for carrier handled 1 events",
        simulated: Lacks("calls that are counted"),
    },
    Known {
        name: "OneRound",
        test: "external::two_events_of_a_key_in_one_batch_neither_overlap_nor_swap",
        says: "calls of a key do not overlap",
        simulated: Breaks(&[ORDERED]),
    },
    Known {
        name: "StragglerUnmarked",
        test: "slow::a_slow_call_whose_worker_died_is_made_again_after_its_deadline",
        says: "state = 'running'",
        // Others of its key overtake the call, or nobody makes it again.
        simulated: Breaks(&[ORDERED, EVERYTHING]),
    },
    Known {
        name: "BlockedFlag",
        test: "parked::an_event_that_is_parked_while_the_one_before_it_ends_is_handled",
        says: "in vain for notebook handled 2 events",
        simulated: Breaks(&[EVERYTHING]),
    },
    Known {
        name: "KeysNotBlocked",
        test: "parked::a_poison_event_parks_only_its_key_and_a_redrive_keeps_the_order",
        says: "what follows waits untried",
        simulated: Breaks(&[ORDERED]),
    },
    Known {
        name: "MemberAfterSeal",
        test: "batches::a_sealed_batch_takes_no_member_from_outside_nor_any_of_the_other_lane",
        says: "the batch refuses the member",
        simulated: Breaks(&["no member comes behind the seal of its batch"]),
    },
    Known {
        name: "OldSnapshot",
        test: "fence::a_worker_frozen_inside_its_transaction_loses_even_after_the_rows_were_pruned",
        says: "no snapshot is older than the rival's positions",
        // Who looks whether a batch is over does not see the others' last positions either.
        simulated: Breaks(&[ONCE, ENDED]),
    },
    Known {
        name: "BatchInOneStatement",
        test: "batches::trouble::a_batch_whose_last_facts_come_at_once_ends",
        says: "in vain for the later of two last facts ends the batch",
        simulated: Breaks(&[ENDED]),
    },
    Known {
        name: "GenerationLeftOpen",
        test: "operations::nobody_goes_on_in_a_generation_that_is_over",
        says: "the generation is over",
        simulated: Lacks("replays"),
    },
    Known {
        name: "ShardsInPlace",
        test: "reshard::a_worker_frozen_before_it_settles_loses_its_old_shard",
        says: "whoever was frozen settles nothing",
        simulated: Breaks(&[ONCE]),
    },
    Known {
        name: "ForeignIdsTrusted",
        test: "restored::after_a_rebase_each_event_of_the_dump_is_handled_once",
        says: "in vain for notebook handled 6 events",
        simulated: Lacks("dumps that are restored elsewhere"),
    },
];

//! What holds at the end of a schedule, whatever happened in it.

use super::writers::Written;
use crate::scene::Scene;

/// A schedule in which it does not come true is a stall or a loss.
pub(super) const EVERYTHING: &str = "everything is handled";
const ONCE: &str = "each event is handled once by each consumer";
const ORDERED: &str = "the events of a key and lane are handled in the order of their commits";
const UNTROUBLED: &str = "nothing is left in trouble";
const COUNTED: &str = "positions count what they pass";
const ACKNOWLEDGED: &str = "what a writer was told is committed is in the log";
pub(super) const ENDED: &str = "a batch ends once all of it is handled";
const TOLD: &str = "the end of a batch is told once";
const SEALED: &str = "no member comes behind the seal of its batch";
const ANNOUNCED: &str = "each change has its event";

pub(super) fn broken(invariant: &str, told: &str) -> ! {
    panic!("broken: {invariant} ({told})")
}

/// What is handled twice makes up for nothing that is lost: hence the order.
const CHECKS: [(&str, &str); 6] = [
    (
        ONCE,
        "select count(*) from (
            select 1 from shop.handled group by consumer, event_id having count(*) <> 1
        ) as repeated",
    ),
    (
        ORDERED,
        "select count(*) from (
            select version < lag(version) over (partition by consumer, key, lane order by n)
                as is_early
            from (
                select consumer, handled.key, lane, n,
                    (payload ->> 'version')::bigint as version
                from shop.handled join outbox.event using (event_id)
            ) as handled
        ) as ordered where is_early",
    ),
    (UNTROUBLED, "select count(*) from outbox.delivery"),
    (
        SEALED,
        "select count(*) from outbox.event as seal
        join outbox.event as member using (batch_id)
        where seal.topic = 'outbox.sealed' and member.topic = 'order.placed'
            and member.id > seal.id",
    ),
    (
        TOLD,
        "select count(*) from outbox.batch where state <> 'succeeded' or 1 <> (
            select count(*) from outbox.event as callback
            where callback.key = batch.batch_id and topic = 'sale.over'
        )",
    ),
    (
        ANNOUNCED,
        "select count(*) from shop.aggregate where version <> (
            select count(*) from outbox.event
            where event.key = aggregate.key and topic = 'order.placed'
        )",
    ),
];

pub(super) async fn check(scene: &Scene, written: Written, told: &str) {
    if written.logged < written.acknowledged {
        broken(ACKNOWLEDGED, told);
    }
    for (invariant, rows) in CHECKS {
        if scene.count(rows).await > 0 {
            broken(invariant, told);
        }
    }
    let events = i64::try_from(written.logged).unwrap();
    let handled = scene.count("select count(*) from shop.handled").await;
    let passed = outbox::handled(&scene.pool).await.unwrap();
    for (invariant, number) in [(EVERYTHING, handled), (COUNTED, passed)] {
        if number != 2 * events {
            broken(invariant, told);
        }
    }
}

//! What is planted around the domain: among deliveries, in rights and guards, on the server.

use super::table::Plant;

pub(super) const PLANTS: &[Plant] = &[
    (
        &["E8", "E6"],
        "an event that went past one in trouble",
        "insert into outbox.delivery (consumer, event_id, tick, id, topic, schema_version, key,
            part, lane, at, payload, actor, state, attempt, next_at)
        select consumer, event_id, seen.n, id, topic, schema_version, event.key, part, lane,
            event.at, payload, actor, 'retry', 1, now()
        from outbox.event
        join billing.account on account_id = event.key and external_id = 'acme'
        join outbox.consumer on consumer.name = 'report'
        cross join lateral (
            select min(n) as n from outbox.tick where pg_visible_in_snapshot(event.xid, snapshot)
        ) as seen
        where topic = any (topics)
        order by id limit 1",
    ),
    (
        &["E6"],
        "an event in trouble, and the later ones of its key behind it",
        "insert into outbox.delivery (consumer, event_id, tick, id, topic, schema_version, key,
            part, lane, at, payload, actor, state, attempt, next_at)
        select consumer, event_id, seen.n, id, topic, schema_version, event.key, part, lane,
            event.at, payload, actor, 'retry', 1, now()
        from outbox.event
        join billing.account on account_id = event.key and external_id = 'acme'
        join outbox.consumer on consumer.name = 'report'
        cross join lateral (
            select min(n) as n from outbox.tick where pg_visible_in_snapshot(event.xid, snapshot)
        ) as seen
        where topic = any (topics)",
    ),
    (
        &["E10", "E6"],
        "an event handled that was never committed",
        "insert into outbox.delivery (consumer, event_id, tick, id, topic, schema_version, key,
            part, lane, at, payload, actor, state, attempt, next_at)
        select consumer, gen_random_uuid(), 1, 1, 'invoice.finalized', 1, gen_random_uuid(), 0, 0,
            now(), '{}', 'Ada', 'retry', 1, now()
        from outbox.consumer where consumer.name = 'report'",
    ),
    (
        &["S1"],
        "a function that lends its owner's rights to any search path",
        "create function billing.lent() returns int language sql security definer
            as 'select 1'",
    ),
    (
        &["S2"],
        "a schema that is open to all",
        "grant create on schema billing to public",
    ),
    (
        &["X2"],
        "an index that was never finished",
        "create index unfinished on only outbox.event (at)",
    ),
];

/// Guards are what this check looks at, so these are planted where all others are in place.
pub(super) const GUARDS: &[Plant] = &[
    (
        &["A4"],
        "lines that can be changed",
        "drop trigger line_frozen on billing.line",
    ),
    (
        &["A4"],
        "postings that can be changed",
        "alter table billing.transfer disable trigger transfer_kept",
    ),
    (
        &["A4"],
        "payments that may go anywhere",
        "alter table billing.payment disable trigger user",
    ),
];

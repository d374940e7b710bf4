-- Why: a provider allows so many calls a second to all of our processes together, and says "too
-- many" to all when one of them goes too far. One row per provider is the clock that they share.

create table outbox.throttle (
    name         text        primary key,
    -- Nanoseconds between two calls, in nine digits: 3 calls a second are 333,333,333.
    interval_ns  bigint      not null,
    -- How many calls may be made at once after a silence.
    burst        int         not null,
    -- The theoretical arrival time of the next call: all before are given away.
    tat          timestamptz not null default clock_timestamp(),
    paused_until timestamptz,
    constraint throttle_named          check (name <> ''),
    constraint throttle_interval_known check (interval_ns > 0),
    constraint throttle_burst_known    check (burst > 0)
)
-- Written ten times a second and process: room for the new version beside the old one.
with (fillfactor = 20);

-- Why: a stream outside of the database can be emptied, rolled back or deleted. What was meant to
-- be in it is written down here before anything leaves, so that an empty stream is known for a lost
-- one. The write is durable, and with it every tick that was read before: nothing is published that
-- a crash of this server could take back.

create table outbox.stream (
    stream text        not null,
    lane   smallint    not null,
    -- Everything up to this point of the log may have been published.
    tick   bigint      not null,
    id     bigint      not null,
    at     timestamptz not null default clock_timestamp(),
    primary key (stream),
    constraint stream_lane_known check (lane in (0, 1))
);

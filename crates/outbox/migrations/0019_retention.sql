-- Why: the log is history for as long as somebody wants it, and then its oldest partitions go. What
-- is compared with it later has to know where it begins now, and what it held before.

create table outbox.retained (
    one      boolean     primary key default true,
    -- The partitions up to this id are gone.
    id       bigint      not null default 0,
    -- The highest event_id of those: what was announced under a later one (UUIDv7) is in the log.
    event_id uuid        not null default '00000000-0000-0000-0000-000000000000',
    constraint retained_one_row check (one)
);
insert into outbox.retained default values;

-- How many events were dropped: positions count what they passed since the log began.
create table outbox.dropped (
    lane   smallint not null,
    topic  text     not null,
    part   smallint not null,
    events bigint   not null,
    primary key (lane, topic, part)
);

-- What became of each partition that is gone.
create table outbox.archived (
    partition text        primary key,
    last_id   bigint      not null,
    events    bigint      not null,
    -- Where its events were written; null if they were dropped without.
    file      text,
    at        timestamptz not null default clock_timestamp()
);

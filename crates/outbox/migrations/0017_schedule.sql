-- Why: something that happens every night at two, in somebody's zone, happens once whoever runs
-- the relays, and what was missed while nobody ran is caught up with as its owner wants.

create table outbox.schedule (
    name           text        primary key,
    cron           text        not null,
    -- An IANA zone: a slot is a time of its clocks.
    zone           text        not null,
    missed         text        not null,
    topic          text        not null,
    schema_version smallint    not null,
    key            uuid        not null,
    part           smallint    not null,
    lane           smallint    not null,
    payload        json        not null,
    actor          text        not null,
    -- The next slot; none when the expression names no more.
    next_at        timestamptz,
    is_paused      boolean     not null default false,
    changed_at     timestamptz not null default clock_timestamp(),
    constraint schedule_named         check (name <> ''),
    constraint schedule_missed_known  check (missed in ('skip', 'once', 'all')),
    constraint schedule_topic_named   check (topic <> ''),
    constraint schedule_actor_named   check (actor <> ''),
    constraint schedule_lane_known    check (lane in (0, 1)),
    constraint schedule_part_in_range check (part between 0 and 63),
    constraint schedule_payload_small check (pg_column_size(payload) <= 262000)
);
create index schedule_by_next on outbox.schedule (next_at) where not is_paused;

-- A slot fires once: its row is inserted with its event.
create table outbox.schedule_slot (
    name     text        not null,
    slot     timestamptz not null,
    event_id uuid        not null,
    fired_at timestamptz not null default clock_timestamp(),
    primary key (name, slot)
);

-- An event that is appended once per key and window, whoever races for it.
create table outbox.unique_event (
    scope    text        not null,
    key      uuid        not null,
    event_id uuid        not null,
    until    timestamptz not null,
    primary key (scope, key)
);
create index unique_event_by_until on outbox.unique_event (until);

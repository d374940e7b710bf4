-- Why: the log of committed events and all that consumers need to read it once, in order, and to
-- recover when they fail. Success appends; only trouble writes a row that is ever updated.

-- CACHE 1 is a correctness requirement, not tuning: a session that cached a block of ids would use
-- low ids after another session's high ones, and order per key would be lost.
create sequence outbox.event_id as bigint cache 1;

create table outbox.event (
    -- First column, so that the transaction's id is assigned before the event's id is drawn: the
    -- floor of a tick leans on it. It is the top-level transaction's id, so savepoints are safe.
    xid            xid8        not null default pg_current_xact_id(),
    id             bigint      not null default nextval('outbox.event_id'),
    event_id       uuid        not null,
    topic          text        not null,
    schema_version smallint    not null,
    key            uuid        not null,
    part           smallint    not null,
    lane           smallint    not null,
    -- When its statement began, the last one before COMMIT: a volatile default would make COPY
    -- insert row by row.
    at             timestamptz not null default statement_timestamp(),
    payload        jsonb       not null,
    actor          text        not null,
    reason         text,
    request_id     uuid,
    caused_by      uuid,
    batch_id       uuid,
    traceparent    text,
    constraint event_topic_named   check (topic <> ''),
    constraint event_actor_named   check (actor <> ''),
    constraint event_lane_known    check (lane in (0, 1)),
    constraint event_part_in_range check (part between 0 and 63),
    -- A transport's message limit is 1 MiB; a larger fact belongs in a table, named by its id.
    constraint event_payload_small check (pg_column_size(payload) <= 262144)
) partition by range (id);

-- The diff of two ticks reads by transaction id; one index per lane keeps an interactive read fast
-- beside a million bulk rows.
create index event_interactive on outbox.event (xid) where lane = 0;
create index event_bulk on outbox.event (xid) where lane = 1;
-- A window of ids inside one giant tick. Not BRIN: what was appended since autovacuum last looked
-- is not in its ranges, and a close appends millions between two looks.
create index event_by_id on outbox.event (id);

create table outbox.event_0 partition of outbox.event for values from (minvalue) to (10000000);
-- The net: maintenance that sleeps must never fail a business transaction.
create table outbox.event_default partition of outbox.event default;

create table outbox.tick (
    n        bigint      primary key,
    snapshot pg_snapshot not null,
    -- The sequence's last value, read before the snapshot was taken and before `xid` was assigned.
    sequence bigint      not null,
    -- The transaction that cut the tick: whoever has a higher one drew its ids above `sequence`.
    xid      xid8        not null default pg_current_xact_id(),
    -- No event that is invisible in `snapshot` has an id at or below it.
    floor    bigint      not null,
    events   bigint      not null,
    max_id   bigint      not null,
    at       timestamptz not null default clock_timestamp()
);
create index tick_by_xid on outbox.tick (xid);
insert into outbox.tick (n, snapshot, sequence, floor, events, max_id)
values (0, pg_current_snapshot(), 0, 0, 0, 0);

create table outbox.consumer (
    consumer     smallint generated always as identity primary key,
    name         text     not null unique,
    topics       text[]   not null,
    shards       smallint not null,
    generation   smallint not null default 0,
    -- What a dead letter does to the later events of its key.
    on_dead      text     not null default 'halt',
    paused_until timestamptz,
    constraint consumer_on_dead_known  check (on_dead in ('halt', 'skip')),
    constraint consumer_shards_divide  check (shards between 1 and 64)
);

-- Append-only: row n+1 is the fence against whoever still believes in row n.
create table outbox.position (
    consumer    smallint    not null references outbox.consumer,
    generation  smallint    not null,
    lane        smallint    not null,
    shard       smallint    not null,
    n           bigint      not null,
    tick        bigint      not null,
    id          bigint      not null,
    -- Events of the consumer's topics that this shard went past since its first position.
    passed      bigint      not null,
    owner       uuid,
    claim_until timestamptz,
    at          timestamptz not null default clock_timestamp(),
    primary key (consumer, generation, lane, shard, n)
);

create table outbox.delivery (
    consumer       smallint    not null references outbox.consumer,
    event_id       uuid        not null,
    tick           bigint      not null,
    id             bigint      not null,
    topic          text        not null,
    schema_version smallint    not null,
    key            uuid        not null,
    part           smallint    not null,
    lane           smallint    not null,
    at             timestamptz not null,
    payload        jsonb       not null,
    actor          text        not null,
    reason         text,
    request_id     uuid,
    caused_by      uuid,
    batch_id       uuid,
    traceparent    text,
    state          text        not null,
    attempt        int         not null,
    owner          uuid,
    deadline       timestamptz,
    next_at        timestamptz,
    last_error     text,
    dead_reason    text,
    parked_at      timestamptz not null default clock_timestamp(),
    primary key (consumer, event_id),
    constraint delivery_state_known         check (state in ('retry', 'running', 'dead')),
    constraint delivery_owner_iff_running   check ((state = 'running') = (owner is not null)),
    constraint delivery_deadline_iff_running check ((state = 'running') = (deadline is not null)),
    constraint delivery_next_iff_retry      check ((state = 'retry') = (next_at is not null)),
    constraint delivery_dead_has_reason     check ((state = 'dead') = (dead_reason is not null))
);
-- The head of a key is its lowest open row, computed when polling: there is no state to forget.
create index delivery_by_key on outbox.delivery (consumer, key, tick, id);

-- Events that a handler found overtaken by the world: a success worth knowing about.
create table outbox.obsolete (
    consumer smallint    not null references outbox.consumer,
    event_id uuid        not null,
    key      uuid        not null,
    reason   text        not null,
    at       timestamptz not null default clock_timestamp(),
    primary key (consumer, event_id)
);

create table outbox.member (
    member    uuid        not null,
    -- 0 is the relay's role.
    consumer  smallint    not null,
    address   text        not null,
    heartbeat timestamptz not null default clock_timestamp(),
    primary key (member, consumer)
);

-- A state change that must be announced cannot commit without its event. Use as a deferred
-- constraint trigger per row, with `outbox.is_first_change` as its condition:
--     create constraint trigger … after insert on … deferrable initially deferred for each row
--         when (outbox.is_first_change(new.tableoid, 'event id column'))
--         execute function outbox.require_event('topic', 'event id column', 'xid column');
--
-- One firing compares the whole transaction in one set operation, so only the first change of a
-- transaction asks for one: a check per row would cost a lookup per row, and a queued trigger per
-- row seven microseconds. The event id column must be NOT NULL (or tied to the xid column by a
-- CHECK).
create function outbox.require_event() returns trigger
language plpgsql set search_path = pg_catalog as $$
declare
    missing uuid;
begin
    -- What changes from here on asks again: SET CONSTRAINTS can bring us here before the end.
    perform set_config('outbox.changed_' || tg_relid || '_' || tg_argv[1], '', true);
    execute format(
        'select announced from (
             select %2$I as announced from %1$s where %3$I = pg_current_xact_id()
             except all (
                 select event_id from outbox.event
                 where xid = pg_current_xact_id() and topic = %4$L and lane = 0
                 union all
                 select event_id from outbox.event
                 where xid = pg_current_xact_id() and topic = %4$L and lane = 1
             )
         ) unannounced limit 1',
        tg_relid::regclass, tg_argv[1], tg_argv[2], tg_argv[0]
    ) into missing;
    if missing is not null then
        raise exception '% changed without its event %', tg_relid::regclass, tg_argv[0]
            using errcode = 'check_violation', constraint = tg_name,
                  detail = format('No event %s in this transaction.', missing);
    end if;
    return null;
end $$;

-- Whether no firing of `require_event` waits yet for changes of this table in this transaction. A
-- savepoint that is rolled back takes back both, the firing and what is noted here. Of several
-- conditions it must be the last that is asked, hence `case when … then … else false end`.
create function outbox.is_first_change(relation oid, event_column text) returns boolean
language sql volatile
return case
    when current_setting(concat('outbox.changed_', relation, '_', event_column), true)
        = pg_current_xact_id()::text
    then false
    else set_config(
        concat('outbox.changed_', relation, '_', event_column), pg_current_xact_id()::text, true
    ) is not null
end;

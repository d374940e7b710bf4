-- Why: what people do to consumers and their events (pause, redrive, discard, replay) is written
-- down in the transaction that does it: who, why, to what, and how much it was.

create table outbox.operation (
    operation bigint      generated always as identity primary key,
    at        timestamptz not null default clock_timestamp(),
    verb      text        not null,
    -- Of one consumer; of whichever the choice meets when absent.
    consumer  smallint    references outbox.consumer,
    actor     text        not null,
    reason    text        not null,
    -- What it was told: a choice of dead letters, a duration, a place in the log.
    told      jsonb       not null,
    -- How many events or consumers it changed.
    changed   bigint      not null,
    constraint operation_verb_known
        check (verb in ('pause', 'resume', 'redrive', 'discard', 'replay', 'cancel', 'rebase')),
    constraint operation_actor_named  check (btrim(actor) <> ''),
    constraint operation_reason_given check (btrim(reason) <> '')
);

-- A replay starts a new generation of positions: whoever still works in the old one is fenced off.
alter table outbox.consumer
    add column replayable boolean not null default false,
    -- Its generation reads the ticks after this one.
    add column since_tick bigint  not null default 0;

-- Whether a dead letter is among those chosen; what a choice does not name is not asked.
create function outbox.is_chosen(letter outbox.delivery, choice jsonb) returns boolean
language sql stable
return (not choice ? 'consumer' or letter.consumer in (
        select consumer from outbox.consumer where name = choice ->> 'consumer'
    ))
    and (not choice ? 'events' or choice -> 'events' ? letter.event_id::text)
    and (not choice ? 'topic' or letter.topic = choice ->> 'topic')
    and (not choice ? 'key' or letter.key = (choice ->> 'key')::uuid)
    and (not choice ? 'error' or strpos(lower(letter.dead_reason), lower(choice ->> 'error')) > 0)
    and (not choice ? 'since' or letter.parked_at >= (choice ->> 'since')::timestamptz)
    and (not choice ? 'until' or letter.parked_at < (choice ->> 'until')::timestamptz);

-- For how long the other side of a consumer is left alone by this process, because it is down.
alter table outbox.member add column closed_until timestamptz;

-- Events that nobody is to handle any more.
create table outbox.cancelled (
    event_id uuid        primary key,
    actor    text        not null,
    reason   text        not null,
    at       timestamptz not null default clock_timestamp(),
    constraint cancelled_actor_named  check (btrim(actor) <> ''),
    constraint cancelled_reason_given check (btrim(reason) <> '')
);

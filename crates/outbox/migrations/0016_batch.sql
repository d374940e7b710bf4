-- Why: whoever appends a million events wants to be told once when all of them are handled, and
-- whether any was given up. A row per member, or a counter that every handler writes, would cost
-- more than the work; positions know already how far everybody has come.

create table outbox.batch (
    batch_id    uuid        primary key,
    name        text        not null,
    lane        smallint    not null,
    -- The part of the batch's id, which is the key of its seals and callbacks.
    part        smallint    not null,
    state       text        not null default 'open',
    -- The newest seal: its number, and its place once a shard has come past it.
    wave        int         not null default 0,
    seal_tick   bigint,
    seal_id     bigint,
    -- Those asked for; all that are registered at the seal unless named.
    wanted      text[],
    consumers   smallint[],
    -- Ids of members are above this one.
    above_id    bigint      not null,
    actor       text        not null,
    reason      text,
    request_id  uuid,
    caused_by   uuid,
    traceparent text,
    opened_at   timestamptz not null default clock_timestamp(),
    sealed_at   timestamptz,
    done_at     timestamptz,
    constraint batch_named            check (name <> ''),
    constraint batch_lane_known       check (lane in (0, 1)),
    constraint batch_state_known      check (state in ('open', 'sealed', 'succeeded', 'failed')),
    constraint batch_sealed_iff_waves check ((state <> 'open') = (wave > 0)),
    constraint batch_sealed_for_some  check ((state <> 'open') = (consumers is not null)),
    constraint batch_done_iff_ended
        check ((state in ('succeeded', 'failed')) = (done_at is not null)),
    constraint batch_seal_has_a_place check ((seal_tick is null) = (seal_id is null))
);

-- What is appended at the end; at most one row per outcome.
create table outbox.batch_callback (
    batch_id       uuid     not null references outbox.batch,
    outcome        text     not null,
    event_id       uuid     not null,
    topic          text     not null,
    schema_version smallint not null,
    payload        json     not null,
    primary key (batch_id, outcome),
    constraint batch_callback_outcome_known check (outcome in ('succeeded', 'failed', 'completed')),
    constraint batch_callback_topic_named   check (topic <> ''),
    constraint batch_callback_payload_small check (pg_column_size(payload) <= 262144)
);

-- Handlers of members add members: the wave after the newest seal, opened by the first of them.
create table outbox.batch_wave (
    batch_id  uuid        not null references outbox.batch,
    wave      int         not null,
    opened_at timestamptz not null default clock_timestamp(),
    primary key (batch_id, wave)
);

create index delivery_by_batch on outbox.delivery (batch_id) where batch_id is not null;

-- Takes part in a batch until the transaction ends: it cannot be sealed meanwhile, and others take
-- part at the same time. A handler of a member `follows`: behind a seal it opens the next wave.
create function outbox.join_batch(joined uuid, own_lane smallint, follows boolean) returns void
language plpgsql set search_path = pg_catalog as $$
declare
    found_batch record;
begin
    select state, lane, wave into found_batch
    from outbox.batch where batch_id = joined for key share;
    if found_batch.state is null then
        raise exception 'there is no batch %: open it in an earlier or the same transaction', joined
            using errcode = 'check_violation', constraint = 'batch_is_open';
    elsif found_batch.lane <> own_lane then
        raise exception 'batch % is in the other lane: its members go where it was opened', joined
            using errcode = 'check_violation', constraint = 'batch_lane_is_its_own';
    elsif found_batch.state = 'sealed' and follows then
        insert into outbox.batch_wave (batch_id, wave) values (joined, found_batch.wave + 1)
        on conflict do nothing;
    elsif found_batch.state <> 'open' then
        raise exception 'batch % is %: it takes no more members', joined, found_batch.state
            using errcode = 'check_violation', constraint = 'batch_is_open',
                  hint = 'Open another batch; only its members'' handlers add to a sealed one.';
    end if;
end $$;

-- Seals an open batch: waits for those who take part, and lets nobody in after.
create function outbox.seal_batch(sealed uuid) returns void
language plpgsql set search_path = pg_catalog as $$
declare
    found_batch record;
    unknown text;
    told smallint[];
begin
    select state, wanted into found_batch
    from outbox.batch where batch_id = sealed for update;
    if found_batch.state is distinct from 'open' then
        raise exception 'batch % is %: it can be sealed once', sealed,
            coalesce(found_batch.state, 'not there')
            using errcode = 'check_violation', constraint = 'batch_is_open';
    end if;
    select name into unknown from unnest(found_batch.wanted) as name
    where name not in (select consumer.name from outbox.consumer) limit 1;
    if unknown is not null then
        raise exception 'batch % waits for consumer %, which is not registered', sealed, unknown
            using errcode = 'check_violation', constraint = 'batch_consumers_known';
    end if;
    select array_agg(consumer order by consumer) into told from outbox.consumer
    where found_batch.wanted is null or name = any (found_batch.wanted);
    if told is null then
        raise exception 'batch % has no consumer to wait for: register one first', sealed
            using errcode = 'check_violation', constraint = 'batch_consumers_known';
    end if;
    update outbox.batch
    set state = 'sealed', wave = 1, consumers = told, sealed_at = clock_timestamp()
    where batch_id = sealed;
end $$;

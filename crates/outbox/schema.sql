-- The schema after all migrations. Written by `cargo xtask schema`; do not edit.

CREATE SCHEMA outbox;

CREATE TABLE outbox.consumer (
    consumer smallint NOT NULL,
    name text NOT NULL,
    topics text[] NOT NULL,
    shards smallint NOT NULL,
    generation smallint DEFAULT 0 NOT NULL,
    on_dead text DEFAULT 'halt'::text NOT NULL,
    paused_until timestamp with time zone,
    replayable boolean DEFAULT false NOT NULL,
    since_tick bigint DEFAULT 0 NOT NULL,
    CONSTRAINT consumer_on_dead_known CHECK ((on_dead = ANY (ARRAY['halt'::text, 'skip'::text]))),
    CONSTRAINT consumer_shards_divide CHECK (((shards >= 1) AND (shards <= 64)))
);

CREATE TABLE outbox.delivery (
    consumer smallint NOT NULL,
    event_id uuid NOT NULL,
    tick bigint NOT NULL,
    id bigint NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    key uuid NOT NULL,
    part smallint NOT NULL,
    lane smallint NOT NULL,
    at timestamp with time zone NOT NULL,
    payload json NOT NULL,
    actor text NOT NULL,
    reason text,
    request_id uuid,
    caused_by uuid,
    batch_id uuid,
    traceparent text,
    state text NOT NULL,
    attempt integer NOT NULL,
    owner uuid,
    deadline timestamp with time zone,
    next_at timestamp with time zone,
    last_error text,
    dead_reason text,
    parked_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT delivery_dead_has_reason CHECK (((state = 'dead'::text) = (dead_reason IS NOT NULL))),
    CONSTRAINT delivery_deadline_iff_running CHECK (((state = 'running'::text) = (deadline IS NOT NULL))),
    CONSTRAINT delivery_next_iff_retry CHECK (((state = 'retry'::text) = (next_at IS NOT NULL))),
    CONSTRAINT delivery_owner_iff_running CHECK (((state = 'running'::text) = (owner IS NOT NULL))),
    CONSTRAINT delivery_state_known CHECK ((state = ANY (ARRAY['retry'::text, 'running'::text, 'dead'::text])))
);

CREATE FUNCTION outbox.is_chosen(letter outbox.delivery, choice jsonb) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN (((NOT (choice ? 'consumer'::text)) OR ((letter).consumer IN (SELECT consumer.consumer FROM outbox.consumer WHERE (consumer.name = (is_chosen.choice ->> 'consumer'::text))))) AND ((NOT (choice ? 'events'::text)) OR ((choice -> 'events'::text) ? ((letter).event_id)::text)) AND ((NOT (choice ? 'topic'::text)) OR ((letter).topic = (choice ->> 'topic'::text))) AND ((NOT (choice ? 'key'::text)) OR ((letter).key = ((choice ->> 'key'::text))::uuid)) AND ((NOT (choice ? 'error'::text)) OR (strpos(lower((letter).dead_reason), lower((choice ->> 'error'::text))) > 0)) AND ((NOT (choice ? 'since'::text)) OR ((letter).parked_at >= ((choice ->> 'since'::text))::timestamp with time zone)) AND ((NOT (choice ? 'until'::text)) OR ((letter).parked_at < ((choice ->> 'until'::text))::timestamp with time zone)));

CREATE FUNCTION outbox.is_first_change(relation oid, event_column text) RETURNS boolean
    LANGUAGE sql
    RETURN CASE WHEN (current_setting(concat('outbox.changed_', relation, '_', event_column), true) = (pg_current_xact_id())::text) THEN false ELSE (set_config(concat('outbox.changed_', relation, '_', event_column), (pg_current_xact_id())::text, true) IS NOT NULL) END;

CREATE FUNCTION outbox.sum_of(so_far bigint, event uuid) RETURNS bigint
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ((COALESCE(so_far, (0)::bigint) + (uuid_hash_extended(event, (0)::bigint) & '4611686018427387903'::bigint)) & '4611686018427387903'::bigint);

CREATE FUNCTION outbox.is_first_change(relation oid, event_column text, event uuid) RETURNS boolean
    LANGUAGE sql
    RETURN CASE WHEN (NULLIF(current_setting(concat('outbox.changed_', relation, '_', event_column), true), ''::text) IS NULL) THEN (set_config(concat('outbox.changed_', relation, '_', event_column), (outbox.sum_of((0)::bigint, event))::text, true) IS NOT NULL) ELSE (set_config(concat('outbox.changed_', relation, '_', event_column), (outbox.sum_of((current_setting(concat('outbox.changed_', relation, '_', event_column), true))::bigint, event))::text, true) IS NULL) END;

CREATE FUNCTION outbox.join_batch(joined uuid, own_lane smallint, follows boolean) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
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
    elsif found_batch.state <> 'open' and not follows then
        raise exception 'batch % is %: it takes no more members', joined, found_batch.state
            using errcode = 'check_violation', constraint = 'batch_is_open',
                  hint = 'Open another batch; only its members'' handlers add to a sealed one.';
    end if;
end $$;

CREATE FUNCTION outbox.require_event() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $_$
declare
    noted constant text := 'outbox.changed_' || tg_relid || '_' || tg_argv[1];
    changed constant text := current_setting(noted, true);
    told text;
    missing uuid;
begin
    -- What changes from here on asks again: SET CONSTRAINTS can bring us here before the end.
    perform set_config(noted, '', true);
    select (sum(uuid_hash_extended(event_id, 0) & 4611686018427387903) % 4611686018427387904)::text
    into told
    from (
        select event_id from outbox.event
        where xid = pg_current_xact_id() and topic = tg_argv[0] and lane = 0
        union all
        select event_id from outbox.event
        where xid = pg_current_xact_id() and topic = tg_argv[0] and lane = 1
    ) as event;
    if told = changed then
        return null;
    end if;
    -- An event is missing, or there are more than changes: rows that were deleted again, or checked
    -- before. Only looking at the rows can tell.
    execute format(
        'select announced from (
             select %2$I as announced from %1$s
             where %3$I = pg_current_xact_id() and age(xmin) <= 0
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
end $_$;

CREATE FUNCTION outbox.seal_batch(sealed uuid) RETURNS void
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
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

CREATE TABLE outbox.archived (
    partition text NOT NULL,
    last_id bigint NOT NULL,
    events bigint NOT NULL,
    file text,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE outbox.batch (
    batch_id uuid NOT NULL,
    name text NOT NULL,
    lane smallint NOT NULL,
    part smallint NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    wave integer DEFAULT 0 NOT NULL,
    seal_tick bigint,
    seal_id bigint,
    wanted text[],
    consumers smallint[],
    above_id bigint NOT NULL,
    actor text NOT NULL,
    reason text,
    request_id uuid,
    caused_by uuid,
    traceparent text,
    opened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    sealed_at timestamp with time zone,
    done_at timestamp with time zone,
    CONSTRAINT batch_done_iff_ended CHECK (((state = ANY (ARRAY['succeeded'::text, 'failed'::text])) = (done_at IS NOT NULL))),
    CONSTRAINT batch_lane_known CHECK ((lane = ANY (ARRAY[0, 1]))),
    CONSTRAINT batch_named CHECK ((name <> ''::text)),
    CONSTRAINT batch_seal_has_a_place CHECK (((seal_tick IS NULL) = (seal_id IS NULL))),
    CONSTRAINT batch_sealed_for_some CHECK (((state <> 'open'::text) = (consumers IS NOT NULL))),
    CONSTRAINT batch_sealed_iff_waves CHECK (((state <> 'open'::text) = (wave > 0))),
    CONSTRAINT batch_state_known CHECK ((state = ANY (ARRAY['open'::text, 'sealed'::text, 'succeeded'::text, 'failed'::text])))
);

CREATE TABLE outbox.batch_callback (
    batch_id uuid NOT NULL,
    outcome text NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    payload json NOT NULL,
    CONSTRAINT batch_callback_outcome_known CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'failed'::text, 'completed'::text]))),
    CONSTRAINT batch_callback_payload_small CHECK ((pg_column_size(payload) <= 262144)),
    CONSTRAINT batch_callback_topic_named CHECK ((topic <> ''::text))
);

CREATE TABLE outbox.batch_wave (
    batch_id uuid NOT NULL,
    wave integer NOT NULL,
    opened_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE outbox.cancelled (
    event_id uuid NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT cancelled_actor_named CHECK ((btrim(actor) <> ''::text)),
    CONSTRAINT cancelled_reason_given CHECK ((btrim(reason) <> ''::text))
);

ALTER TABLE outbox.consumer ALTER COLUMN consumer ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.consumer_consumer_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE outbox.dropped (
    lane smallint NOT NULL,
    topic text NOT NULL,
    part smallint NOT NULL,
    events bigint NOT NULL
);

CREATE SEQUENCE outbox.event_id
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE outbox.event (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    id bigint DEFAULT nextval('outbox.event_id'::regclass) NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    key uuid NOT NULL,
    part smallint NOT NULL,
    lane smallint NOT NULL,
    at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    payload json NOT NULL,
    actor text NOT NULL,
    reason text,
    request_id uuid,
    caused_by uuid,
    batch_id uuid,
    traceparent text,
    CONSTRAINT event_actor_named CHECK ((actor <> ''::text)),
    CONSTRAINT event_lane_known CHECK ((lane = ANY (ARRAY[0, 1]))),
    CONSTRAINT event_part_in_range CHECK (((part >= 0) AND (part <= 63))),
    CONSTRAINT event_payload_small CHECK ((pg_column_size(payload) <= 262144)),
    CONSTRAINT event_topic_named CHECK ((topic <> ''::text))
)
PARTITION BY RANGE (id);

CREATE TABLE outbox.event_0 (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    id bigint DEFAULT nextval('outbox.event_id'::regclass) NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    key uuid NOT NULL,
    part smallint NOT NULL,
    lane smallint NOT NULL,
    at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    payload json NOT NULL,
    actor text NOT NULL,
    reason text,
    request_id uuid,
    caused_by uuid,
    batch_id uuid,
    traceparent text,
    CONSTRAINT event_actor_named CHECK ((actor <> ''::text)),
    CONSTRAINT event_lane_known CHECK ((lane = ANY (ARRAY[0, 1]))),
    CONSTRAINT event_part_in_range CHECK (((part >= 0) AND (part <= 63))),
    CONSTRAINT event_payload_small CHECK ((pg_column_size(payload) <= 262144)),
    CONSTRAINT event_topic_named CHECK ((topic <> ''::text))
);
ALTER TABLE ONLY outbox.event_0 ALTER COLUMN xid SET (n_distinct=-0.5);

CREATE TABLE outbox.event_default (
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    id bigint DEFAULT nextval('outbox.event_id'::regclass) NOT NULL,
    event_id uuid NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    key uuid NOT NULL,
    part smallint NOT NULL,
    lane smallint NOT NULL,
    at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    payload json NOT NULL,
    actor text NOT NULL,
    reason text,
    request_id uuid,
    caused_by uuid,
    batch_id uuid,
    traceparent text,
    CONSTRAINT event_actor_named CHECK ((actor <> ''::text)),
    CONSTRAINT event_lane_known CHECK ((lane = ANY (ARRAY[0, 1]))),
    CONSTRAINT event_part_in_range CHECK (((part >= 0) AND (part <= 63))),
    CONSTRAINT event_payload_small CHECK ((pg_column_size(payload) <= 262144)),
    CONSTRAINT event_topic_named CHECK ((topic <> ''::text))
);
ALTER TABLE ONLY outbox.event_default ALTER COLUMN xid SET (n_distinct=-0.5);

CREATE VIEW outbox.head AS
 SELECT head.consumer,
    head.event_id,
    head.state,
    head.next_at,
    head.deadline,
    head.owner,
    head.last_error
   FROM (outbox.delivery head
     JOIN outbox.consumer USING (consumer))
  WHERE ((head.state <> 'dead'::text) AND (head.event_id = ( SELECT first.event_id
           FROM outbox.delivery first
          WHERE ((first.consumer = head.consumer) AND (first.key = head.key) AND (first.state <> 'dead'::text))
          ORDER BY first.tick, first.id
         LIMIT 1)) AND ((consumer.on_dead <> 'halt'::text) OR (head.event_id = ( SELECT first.event_id
           FROM outbox.delivery first
          WHERE ((first.consumer = head.consumer) AND (first.key = head.key))
          ORDER BY first.tick, first.id
         LIMIT 1))));

CREATE TABLE outbox.member (
    member uuid NOT NULL,
    consumer smallint NOT NULL,
    address text NOT NULL,
    heartbeat timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    closed_until timestamp with time zone
);

CREATE TABLE outbox.meta (
    one boolean DEFAULT true NOT NULL,
    system_identifier bigint,
    timeline integer,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT meta_one_row CHECK (one)
);

CREATE TABLE outbox.obsolete (
    consumer smallint NOT NULL,
    event_id uuid NOT NULL,
    key uuid NOT NULL,
    reason text NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE outbox.operation (
    operation bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    verb text NOT NULL,
    consumer smallint,
    actor text NOT NULL,
    reason text NOT NULL,
    told jsonb NOT NULL,
    changed bigint NOT NULL,
    CONSTRAINT operation_actor_named CHECK ((btrim(actor) <> ''::text)),
    CONSTRAINT operation_reason_given CHECK ((btrim(reason) <> ''::text)),
    CONSTRAINT operation_verb_known CHECK ((verb = ANY (ARRAY['pause'::text, 'resume'::text, 'redrive'::text, 'discard'::text, 'replay'::text, 'cancel'::text, 'rebase'::text, 'reshard'::text, 'forget'::text])))
);

ALTER TABLE outbox.operation ALTER COLUMN operation ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME outbox.operation_operation_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE outbox."position" (
    consumer smallint NOT NULL,
    generation smallint NOT NULL,
    lane smallint NOT NULL,
    shard smallint NOT NULL,
    n bigint NOT NULL,
    tick bigint NOT NULL,
    id bigint NOT NULL,
    passed bigint NOT NULL,
    owner uuid,
    claim_until timestamp with time zone,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE outbox.rebase (
    tick bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor text NOT NULL,
    reason text NOT NULL,
    from_identifier bigint,
    to_identifier bigint,
    events bigint NOT NULL,
    CONSTRAINT rebase_actor_named CHECK ((actor <> ''::text)),
    CONSTRAINT rebase_reason_given CHECK ((reason <> ''::text))
);

CREATE TABLE outbox.retained (
    one boolean DEFAULT true NOT NULL,
    id bigint DEFAULT 0 NOT NULL,
    event_id uuid DEFAULT '00000000-0000-0000-0000-000000000000'::uuid NOT NULL,
    CONSTRAINT retained_one_row CHECK (one)
);

CREATE TABLE outbox.schedule (
    name text NOT NULL,
    cron text NOT NULL,
    zone text NOT NULL,
    missed text NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    key uuid NOT NULL,
    part smallint NOT NULL,
    lane smallint NOT NULL,
    payload json NOT NULL,
    actor text NOT NULL,
    next_at timestamp with time zone,
    is_paused boolean DEFAULT false NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT schedule_actor_named CHECK ((actor <> ''::text)),
    CONSTRAINT schedule_lane_known CHECK ((lane = ANY (ARRAY[0, 1]))),
    CONSTRAINT schedule_missed_known CHECK ((missed = ANY (ARRAY['skip'::text, 'once'::text, 'all'::text]))),
    CONSTRAINT schedule_named CHECK ((name <> ''::text)),
    CONSTRAINT schedule_part_in_range CHECK (((part >= 0) AND (part <= 63))),
    CONSTRAINT schedule_payload_small CHECK ((pg_column_size(payload) <= 262000)),
    CONSTRAINT schedule_topic_named CHECK ((topic <> ''::text))
);

CREATE TABLE outbox.schedule_slot (
    name text NOT NULL,
    slot timestamp with time zone NOT NULL,
    event_id uuid NOT NULL,
    fired_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE outbox.stream (
    stream text NOT NULL,
    lane smallint NOT NULL,
    tick bigint NOT NULL,
    id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT stream_lane_known CHECK ((lane = ANY (ARRAY[0, 1])))
);

CREATE TABLE outbox.throttle (
    name text NOT NULL,
    interval_ns bigint NOT NULL,
    burst integer NOT NULL,
    tat timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    paused_until timestamp with time zone,
    CONSTRAINT throttle_burst_known CHECK ((burst > 0)),
    CONSTRAINT throttle_interval_known CHECK ((interval_ns > 0)),
    CONSTRAINT throttle_named CHECK ((name <> ''::text))
)
WITH (fillfactor='20');

CREATE TABLE outbox.tick (
    n bigint NOT NULL,
    snapshot pg_snapshot NOT NULL,
    sequence bigint NOT NULL,
    xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    floor bigint NOT NULL,
    events bigint NOT NULL,
    max_id bigint NOT NULL,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    base bigint,
    bulk bigint,
    topics text[],
    min_id bigint
);

CREATE TABLE outbox.timer (
    event_id uuid NOT NULL,
    due_at timestamp with time zone NOT NULL,
    topic text NOT NULL,
    schema_version smallint NOT NULL,
    key uuid NOT NULL,
    part smallint NOT NULL,
    lane smallint NOT NULL,
    payload json NOT NULL,
    actor text NOT NULL,
    reason text,
    request_id uuid,
    caused_by uuid,
    traceparent text,
    made_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT timer_actor_named CHECK ((actor <> ''::text)),
    CONSTRAINT timer_lane_known CHECK ((lane = ANY (ARRAY[0, 1]))),
    CONSTRAINT timer_part_in_range CHECK (((part >= 0) AND (part <= 63))),
    CONSTRAINT timer_payload_small CHECK ((pg_column_size(payload) <= 262144)),
    CONSTRAINT timer_topic_named CHECK ((topic <> ''::text))
)
WITH (autovacuum_vacuum_scale_factor='0', autovacuum_vacuum_threshold='2000');

CREATE TABLE outbox.unique_event (
    scope text NOT NULL,
    key uuid NOT NULL,
    event_id uuid NOT NULL,
    until timestamp with time zone NOT NULL
);

ALTER TABLE ONLY outbox.event ATTACH PARTITION outbox.event_0 FOR VALUES FROM (MINVALUE) TO ('10000000');

ALTER TABLE ONLY outbox.event ATTACH PARTITION outbox.event_default DEFAULT;

ALTER TABLE ONLY outbox.archived
    ADD CONSTRAINT archived_pkey PRIMARY KEY (partition);

ALTER TABLE ONLY outbox.batch_callback
    ADD CONSTRAINT batch_callback_pkey PRIMARY KEY (batch_id, outcome);

ALTER TABLE ONLY outbox.batch
    ADD CONSTRAINT batch_pkey PRIMARY KEY (batch_id);

ALTER TABLE ONLY outbox.batch_wave
    ADD CONSTRAINT batch_wave_pkey PRIMARY KEY (batch_id, wave);

ALTER TABLE outbox.batch
    ADD CONSTRAINT batch_words_short CHECK (((octet_length(actor) <= 1000) AND (octet_length(reason) <= 4000) AND (octet_length(traceparent) <= 100))) NOT VALID;

ALTER TABLE ONLY outbox.cancelled
    ADD CONSTRAINT cancelled_pkey PRIMARY KEY (event_id);

ALTER TABLE ONLY outbox.consumer
    ADD CONSTRAINT consumer_name_key UNIQUE (name);

ALTER TABLE ONLY outbox.consumer
    ADD CONSTRAINT consumer_pkey PRIMARY KEY (consumer);

ALTER TABLE ONLY outbox.delivery
    ADD CONSTRAINT delivery_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY outbox.dropped
    ADD CONSTRAINT dropped_pkey PRIMARY KEY (lane, topic, part);

ALTER TABLE outbox.event
    ADD CONSTRAINT event_words_short CHECK (((octet_length(topic) <= 200) AND (octet_length(actor) <= 1000) AND (octet_length(reason) <= 4000) AND (octet_length(traceparent) <= 100))) NOT VALID;

ALTER TABLE ONLY outbox.member
    ADD CONSTRAINT member_pkey PRIMARY KEY (member, consumer);

ALTER TABLE ONLY outbox.meta
    ADD CONSTRAINT meta_pkey PRIMARY KEY (one);

ALTER TABLE ONLY outbox.obsolete
    ADD CONSTRAINT obsolete_pkey PRIMARY KEY (consumer, event_id);

ALTER TABLE ONLY outbox.operation
    ADD CONSTRAINT operation_pkey PRIMARY KEY (operation);

ALTER TABLE ONLY outbox."position"
    ADD CONSTRAINT position_pkey PRIMARY KEY (consumer, generation, lane, shard, n);

ALTER TABLE ONLY outbox.rebase
    ADD CONSTRAINT rebase_pkey PRIMARY KEY (tick);

ALTER TABLE ONLY outbox.retained
    ADD CONSTRAINT retained_pkey PRIMARY KEY (one);

ALTER TABLE ONLY outbox.schedule
    ADD CONSTRAINT schedule_pkey PRIMARY KEY (name);

ALTER TABLE ONLY outbox.schedule_slot
    ADD CONSTRAINT schedule_slot_pkey PRIMARY KEY (name, slot);

ALTER TABLE ONLY outbox.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (stream);

ALTER TABLE ONLY outbox.throttle
    ADD CONSTRAINT throttle_pkey PRIMARY KEY (name);

ALTER TABLE ONLY outbox.tick
    ADD CONSTRAINT tick_pkey PRIMARY KEY (n);

ALTER TABLE ONLY outbox.timer
    ADD CONSTRAINT timer_pkey PRIMARY KEY (event_id);

ALTER TABLE outbox.timer
    ADD CONSTRAINT timer_words_short CHECK (((octet_length(topic) <= 200) AND (octet_length(actor) <= 1000) AND (octet_length(reason) <= 4000) AND (octet_length(traceparent) <= 100))) NOT VALID;

ALTER TABLE ONLY outbox.unique_event
    ADD CONSTRAINT unique_event_pkey PRIMARY KEY (scope, key);

CREATE INDEX delivery_by_batch ON outbox.delivery USING btree (batch_id) WHERE (batch_id IS NOT NULL);

CREATE INDEX delivery_by_key ON outbox.delivery USING btree (consumer, key, tick, id);

CREATE INDEX delivery_open ON outbox.delivery USING btree (consumer, key, tick, id) WHERE (state <> 'dead'::text);

CREATE INDEX delivery_running ON outbox.delivery USING btree (consumer) WHERE (state = 'running'::text);

CREATE INDEX delivery_tried ON outbox.delivery USING btree (consumer, next_at) WHERE ((state = 'retry'::text) AND (last_error IS NOT NULL));

CREATE INDEX delivery_untried ON outbox.delivery USING btree (consumer, key, tick, id) WHERE ((state = 'retry'::text) AND (last_error IS NULL));

CREATE INDEX event_by_id ON ONLY outbox.event USING btree (id);

CREATE INDEX event_0_id_idx ON outbox.event_0 USING btree (id);

CREATE INDEX event_interactive ON ONLY outbox.event USING btree (xid) WHERE (lane = 0);

CREATE INDEX event_0_xid_idx ON outbox.event_0 USING btree (xid) WHERE (lane = 0);

CREATE INDEX event_bulk ON ONLY outbox.event USING btree (xid) WHERE (lane = 1);

CREATE INDEX event_0_xid_idx1 ON outbox.event_0 USING btree (xid) WHERE (lane = 1);

CREATE INDEX event_default_id_idx ON outbox.event_default USING btree (id);

CREATE INDEX event_default_xid_idx ON outbox.event_default USING btree (xid) WHERE (lane = 0);

CREATE INDEX event_default_xid_idx1 ON outbox.event_default USING btree (xid) WHERE (lane = 1);

CREATE INDEX schedule_by_next ON outbox.schedule USING btree (next_at) WHERE (NOT is_paused);

CREATE INDEX tick_by_xid ON outbox.tick USING btree (xid);

CREATE INDEX timer_by_due ON outbox.timer USING btree (due_at);

CREATE INDEX timer_by_key ON outbox.timer USING btree (key, due_at);

CREATE INDEX unique_event_by_until ON outbox.unique_event USING btree (until);

ALTER INDEX outbox.event_by_id ATTACH PARTITION outbox.event_0_id_idx;

ALTER INDEX outbox.event_interactive ATTACH PARTITION outbox.event_0_xid_idx;

ALTER INDEX outbox.event_bulk ATTACH PARTITION outbox.event_0_xid_idx1;

ALTER INDEX outbox.event_by_id ATTACH PARTITION outbox.event_default_id_idx;

ALTER INDEX outbox.event_interactive ATTACH PARTITION outbox.event_default_xid_idx;

ALTER INDEX outbox.event_bulk ATTACH PARTITION outbox.event_default_xid_idx1;

ALTER TABLE ONLY outbox.batch_callback
    ADD CONSTRAINT batch_callback_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES outbox.batch(batch_id);

ALTER TABLE ONLY outbox.batch_wave
    ADD CONSTRAINT batch_wave_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES outbox.batch(batch_id);

ALTER TABLE ONLY outbox.delivery
    ADD CONSTRAINT delivery_consumer_fkey FOREIGN KEY (consumer) REFERENCES outbox.consumer(consumer);

ALTER TABLE ONLY outbox.obsolete
    ADD CONSTRAINT obsolete_consumer_fkey FOREIGN KEY (consumer) REFERENCES outbox.consumer(consumer);

ALTER TABLE ONLY outbox.operation
    ADD CONSTRAINT operation_consumer_fkey FOREIGN KEY (consumer) REFERENCES outbox.consumer(consumer);

ALTER TABLE ONLY outbox."position"
    ADD CONSTRAINT position_consumer_fkey FOREIGN KEY (consumer) REFERENCES outbox.consumer(consumer);

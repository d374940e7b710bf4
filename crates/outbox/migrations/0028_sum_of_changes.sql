-- Why: to compare the changes of a transaction with its events, they had to be found: by an index
-- on the transaction's id, one more entry for every row that is ever announced, and a reason for
-- every update that sets it to write all other indexes anew. Now the changes are summed up as they
-- happen, and so are the events at the end; rows are looked for only where the two sums differ.
-- Such an index is needed no more.
--
--     create constraint trigger … after insert on … deferrable initially deferred for each row
--         when (outbox.is_first_change(new.tableoid, 'event id column', new.event_id_column))
--         execute function outbox.require_event('topic', 'event id column', 'xid column');

-- Of a set of events, whatever their order. 62 bits, so that two of them never overflow.
create function outbox.sum_of(so_far bigint, event uuid) returns bigint
language sql immutable parallel safe
return (coalesce(so_far, 0) + (uuid_hash_extended(event, 0) & 4611686018427387903))
    & 4611686018427387903;

-- Adds a change to the sum of its table, and tells whether it is the first: whether no firing of
-- `require_event` waits yet in this transaction. A savepoint that is rolled back takes back both,
-- the firing and what is noted here. Of several conditions it must be the last that is asked, hence
-- `case when … then … else false end`.
create function outbox.is_first_change(relation oid, event_column text, event uuid)
returns boolean
language sql volatile
return case
    when nullif(
        current_setting(concat('outbox.changed_', relation, '_', event_column), true), ''
    ) is null
    then set_config(
        concat('outbox.changed_', relation, '_', event_column),
        outbox.sum_of(0, event)::text, true
    ) is not null
    else set_config(
        concat('outbox.changed_', relation, '_', event_column),
        outbox.sum_of(
            current_setting(
                concat('outbox.changed_', relation, '_', event_column), true
            )::bigint, event
        )::text, true
    ) is null
end;

create or replace function outbox.require_event() returns trigger
language plpgsql set search_path = pg_catalog as $$
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
end $$;

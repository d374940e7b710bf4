-- Why: ticks hold transaction ids, which mean something in one cluster alone. A dump that was
-- restored elsewhere carries this row with it, and so betrays that its ids are another cluster's.

create table outbox.meta (
    one               boolean     primary key default true,
    -- Made by initdb; a physical copy keeps it, a dump does not take it along. Null where the
    -- server does not tell: then the transaction ids alone are compared.
    system_identifier bigint,
    -- Counted up by each promotion.
    timeline          int,
    at                timestamptz not null default clock_timestamp(),
    constraint meta_one_row check (one)
);
insert into outbox.meta default values;
do $$
begin
    update outbox.meta
    set system_identifier = control.system_identifier,
        timeline = ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
    from pg_control_system() as control;
exception when insufficient_privilege or undefined_function or feature_not_supported then
    raise notice 'the server does not tell which cluster it is';
end $$;

-- Who let the log go on in another cluster, and why.
create table outbox.rebase (
    tick            bigint      primary key,
    at              timestamptz not null default clock_timestamp(),
    actor           text        not null,
    reason          text        not null,
    from_identifier bigint,
    to_identifier   bigint,
    events          bigint      not null,
    constraint rebase_actor_named  check (actor <> ''),
    constraint rebase_reason_given check (reason <> '')
);

-- A tick that begins a chain in another cluster has no diff of snapshots: it holds what has an id
-- above this one, and what lies below and was not visible in the last snapshot of the old chain,
-- compared as numbers.
alter table outbox.tick add column base bigint;

-- Rows that were restored bear the numbers of another cluster's transactions, and one of these may
-- be ours by chance: that a row is of this transaction is told by its age, too. (It is zero or
-- less for what this transaction and its savepoints wrote.)
create or replace function outbox.require_event() returns trigger
language plpgsql set search_path = pg_catalog as $$
declare
    missing uuid;
begin
    -- What changes from here on asks again: SET CONSTRAINTS can bring us here before the end.
    perform set_config('outbox.changed_' || tg_relid || '_' || tg_argv[1], '', true);
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

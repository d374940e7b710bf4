-- Why: ticks and events hold transaction ids, and those mean something in one cluster alone. A dump
-- that was restored elsewhere carries this row with it, and so betrays where its ids come from.

create table outbox.origin (
    one               boolean     primary key default true,
    -- Made by initdb: a physical copy keeps it, a dump does not take it along.
    system_identifier bigint      not null,
    -- Counts the failovers and recoveries of the cluster.
    timeline          bigint      not null,
    -- Events up to this id, and the ticks up to this one, have ids of a cluster that is gone.
    rebased_id        bigint      not null default 0,
    rebased_tick      bigint      not null default 0,
    at                timestamptz not null default clock_timestamp(),
    constraint origin_one_row check (one)
);

create function outbox.timeline() returns bigint
language sql stable
return ('x' || lpad(left(pg_walfile_name(pg_current_wal_lsn()), 8), 16, '0'))::bit(64)::bigint;

insert into outbox.origin (system_identifier, timeline)
select system_identifier, outbox.timeline() from pg_control_system();

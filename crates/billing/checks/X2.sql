-- X2: nothing hangs: no prepared transaction, no program of ours amid one, no index left unbuilt
select 'prepared transaction' as what, gid as name, prepared as since
from pg_prepared_xacts
where database = current_database() and prepared < now() - interval '5 minutes'
union all
select 'idle in transaction', pid::text, state_change
from pg_stat_activity
where datname = current_database() and application_name = 'billing'
    and state like 'idle in transaction%'
    and state_change < clock_timestamp() - interval '1 minute'
union all
select 'invalid index', indexrelid::regclass::text, null
from pg_index
join pg_class on pg_class.oid = indexrelid
where not indisvalid and relnamespace in ('billing'::regnamespace, 'outbox'::regnamespace)
    and not exists (
        select from pg_stat_progress_create_index as build
        where build.index_relid = indexrelid
    )

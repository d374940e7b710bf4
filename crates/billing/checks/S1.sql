-- S1: no function with its owner's rights takes names from its caller's search path
select oid::regprocedure::text as function
from pg_proc
where prosecdef and pronamespace in ('billing'::regnamespace, 'outbox'::regnamespace)
    and not exists (
        select from unnest(proconfig) as setting where setting like 'search\_path=%'
    )

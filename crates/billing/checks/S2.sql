-- S2: not everybody may make tables or functions beside ours
select nspname as schema
from pg_namespace
where nspname in ('billing', 'outbox') and has_schema_privilege('public', oid, 'create')

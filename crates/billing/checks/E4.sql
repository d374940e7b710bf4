-- E4: at rest, no event waits for its tick or for a consumer
-- (but for those that ask for a run of the checks, which looks at the others)
with newest as (
    -- Through its text, so that the snapshot is unpacked once and not per row.
    select n, snapshot::text::pg_snapshot as snapshot,
        pg_snapshot_xmin(snapshot) as xmin
    from outbox.tick
    order by n desc
    limit 1
),
-- A log that went on in another cluster: transactions before and after cannot be compared.
chain as (
    select coalesce(max(n), -1) as chain_n, coalesce(max(base), 0) as chain_base,
        coalesce(max(max_id), 0) as chain_end
    from (
        select n, base, max_id from outbox.tick where base is not null order by n desc limit 1
    ) as newest_chain
),
shard as (
    select distinct on (consumer, lane, shard)
        consumer, name, topics, shards, lane, shard, tick, id
    from outbox.position
    join outbox.consumer using (consumer, generation)
    order by consumer, lane, shard, n desc
),
place as (
    select name, shard.topics, shards, lane, shard, tick, id, chain.*,
        here.snapshot as here, pg_snapshot_xmin(here.snapshot) as here_xmin,
        before.snapshot as before, pg_snapshot_xmin(before.snapshot) as before_xmin
    from shard
    left join outbox.tick as here on here.n = shard.tick
    left join outbox.tick as before on before.n = shard.tick - 1
    cross join chain
),
-- A row for each topic and part that a place reads: an event finds its own by equality.
reading as materialized (
    select name, place.lane, tick, id, here, here_xmin, before, before_xmin, topic, part,
        chain_n, chain_base, chain_end
    from place, unnest(topics) as topic, generate_series(shard, 63, shards) as part
    where topic <> 'check.due'
)
select 'relay' as waits_for, event_id, topic
from outbox.event
where topic <> 'check.due' and id > (select chain_end from chain)
    and xid >= (select xmin from newest)
    and not pg_visible_in_snapshot(xid, (select snapshot from newest))
union all
select name, event_id, topic
from reading
join outbox.event using (lane, topic, part)
where here is null
    or (tick < chain_n and event.id > chain_base)
    or (tick = chain_n and event.id > greatest(reading.id, chain_base))
    or (
        tick <> chain_n
        and (tick < chain_n or event.id > chain_end)
        and xid >= here_xmin
        and not pg_visible_in_snapshot(xid, here)
    )
    or (
        event.id > reading.id
        and (tick <= chain_n or event.id > chain_end)
        and xid >= coalesce(before_xmin, xid)
        and not coalesce(pg_visible_in_snapshot(xid, before), false)
    )

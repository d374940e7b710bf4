-- E4: at rest, no event waits for its tick or for a consumer
with newest as (
    -- Through its text, so that the snapshot is unpacked once and not per row.
    select n, snapshot::text::pg_snapshot as snapshot,
        pg_snapshot_xmin(snapshot) as xmin
    from outbox.tick
    order by n desc
    limit 1
),
shard as (
    select distinct on (consumer, lane, shard)
        consumer, name, topics, shards, lane, shard, tick, id
    from outbox.position
    join outbox.consumer using (consumer, generation)
    order by consumer, lane, shard, n desc
),
place as (
    select name, topics, shards, lane, shard, id,
        here.snapshot as here, pg_snapshot_xmin(here.snapshot) as here_xmin,
        before.snapshot as before, pg_snapshot_xmin(before.snapshot) as before_xmin,
        -- A restored dump has two kinds of transaction ids: beyond the rebase all of the old ones
        -- are passed, before it none of the new ones.
        case when shard.tick > rebased_tick then rebased_id else 0 end as settled_id,
        case when shard.tick > rebased_tick then null else rebased_id end as unread_id
    from shard
    cross join outbox.origin
    left join outbox.tick as here on here.n = shard.tick
    left join outbox.tick as before on before.n = shard.tick - 1
),
-- A row for each topic and part that a place reads: an event finds its own by equality.
reading as materialized (
    select name, place.lane, id, here, here_xmin, before, before_xmin, settled_id, unread_id,
        topic, part
    from place, unnest(topics) as topic, generate_series(shard, 63, shards) as part
)
select 'relay' as waits_for, event_id, topic
from outbox.event
where id > (select rebased_id from outbox.origin)
    and xid >= (select xmin from newest)
    and not pg_visible_in_snapshot(xid, (select snapshot from newest))
union all
select name, event_id, topic
from reading
join outbox.event using (lane, topic, part)
where event.id > settled_id
    and (
        here is null
        or event.id > unread_id
        or (xid >= here_xmin and not pg_visible_in_snapshot(xid, here))
        or (
            event.id > reading.id
            and xid >= coalesce(before_xmin, xid)
            and not coalesce(pg_visible_in_snapshot(xid, before), false)
        )
    )

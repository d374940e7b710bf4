-- E5: each consumer went past each event of its topics once, from where its generation began up to
-- where it stands
with shard as (
    select distinct on (consumer, lane, shard)
        consumer, name, topics, shards, since_tick, lane, shard, tick, id, passed
    from outbox.position
    join outbox.consumer using (consumer, generation)
    order by consumer, lane, shard, n desc
),
place as (
    select consumer, name, topics, shards, lane, shard, tick, id, passed,
        here.snapshot as here, pg_snapshot_xmin(here.snapshot) as here_xmin,
        before.snapshot as before, pg_snapshot_xmin(before.snapshot) as before_xmin,
        -- Only of a replay.
        since.snapshot as since, pg_snapshot_xmin(since.snapshot) as since_xmin,
        -- A restored dump has two kinds of transaction ids: beyond the rebase all of the old ones
        -- are passed, before it none of the new ones.
        case when shard.tick > rebased_tick then rebased_id else 0 end as settled_id,
        case when shard.tick > rebased_tick then null else rebased_id end as unread_id,
        rebased_id, since_tick > rebased_tick as since_is_new
    from shard
    cross join outbox.origin
    left join outbox.tick as here on here.n = shard.tick
    left join outbox.tick as before on before.n = shard.tick - 1
    left join outbox.tick as since on since.n = since_tick and since.n > 0
),
-- A row for each topic and part that a place reads: an event finds its own by equality.
reading as materialized (
    select consumer, place.lane, shard, id, here, here_xmin, before, before_xmin,
        since, since_xmin, since_is_new, rebased_id, settled_id, unread_id, topic, part
    from place, unnest(topics) as topic, generate_series(shard, 63, shards) as part
),
counted as (
    select consumer, reading.lane, shard, count(*) as logged
    from reading
    join outbox.event using (lane, topic, part)
    where (
            event.id <= settled_id
            or (
                (unread_id is null or event.id <= unread_id)
                and (xid < here_xmin or pg_visible_in_snapshot(xid, here))
                and (
                    event.id <= reading.id
                    or xid < before_xmin
                    or pg_visible_in_snapshot(xid, before)
                )
            )
        )
        and (
            since is null
            or case
                when event.id <= rebased_id then not since_is_new
                else since_is_new
            end and xid >= since_xmin and not pg_visible_in_snapshot(xid, since)
            or (event.id > rebased_id and not since_is_new)
        )
    group by consumer, reading.lane, shard
)
select name, lane, shard, tick, id, passed, coalesce(logged, 0) as logged
from place
left join counted using (consumer, lane, shard)
where passed <> coalesce(logged, 0) or here is null

-- E5: each consumer went past each event of its topics once, from where its generation began up to
-- where it stands
with
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
        consumer, name, topics, shards, since_tick, lane, shard, tick, id, passed
    from outbox.position
    join outbox.consumer using (consumer, generation)
    order by consumer, lane, shard, n desc
),
place as (
    select consumer, name, shard.topics, shards, since_tick, lane, shard, tick, id, passed, chain.*,
        here.snapshot as here, pg_snapshot_xmin(here.snapshot) as here_xmin,
        before.snapshot as before, pg_snapshot_xmin(before.snapshot) as before_xmin,
        -- Only of a replay.
        since.snapshot as since, pg_snapshot_xmin(since.snapshot) as since_xmin
    from shard
    left join outbox.tick as here on here.n = shard.tick
    left join outbox.tick as before on before.n = shard.tick - 1
    left join outbox.tick as since on since.n = since_tick and since.n > 0
    cross join chain
),
-- A row for each topic and part that a place reads: an event finds its own by equality.
reading as materialized (
    select consumer, place.lane, shard, tick, id, here, here_xmin, before, before_xmin, topic,
        part, since, since_xmin, since_tick, chain_n, chain_base, chain_end
    from place, unnest(topics) as topic, generate_series(shard, 63, shards) as part
),
counted as (
    select consumer, reading.lane, shard, count(*) as logged
    from reading
    join outbox.event using (lane, topic, part)
    where not (tick < chain_n and event.id > chain_base)
        and not (tick = chain_n and event.id > greatest(reading.id, chain_base))
        and (
            tick = chain_n
            or (tick > chain_n and event.id <= chain_end)
            or xid < here_xmin
            or pg_visible_in_snapshot(xid, here)
        )
        and (
            event.id <= reading.id
            or (tick > chain_n and event.id <= chain_end)
            or xid < before_xmin
            or pg_visible_in_snapshot(xid, before)
        )
        and (
            since is null
            or case
                when event.id > chain_end and since_tick < chain_n then true
                when event.id <= chain_end and since_tick >= chain_n then false
                when event.id <= chain_end and event.id > chain_base then true
                else xid >= since_xmin and not pg_visible_in_snapshot(xid, since)
            end
        )
    group by consumer, reading.lane, shard
),
dropped as (
    select consumer, place.lane, shard, sum(events) as dropped
    from place
    join outbox.dropped
        on dropped.lane = place.lane and part % shards = shard and topic = any (topics)
    group by consumer, place.lane, shard
)
select name, lane, shard, tick, id, passed, coalesce(logged, 0) as logged,
    coalesce(dropped, 0) as dropped
from place
left join counted using (consumer, lane, shard)
left join dropped using (consumer, lane, shard)
where here is null
    or passed > coalesce(logged, 0) + coalesce(dropped, 0)
    -- What was dropped may have come before a replay began.
    or passed < coalesce(logged, 0) + case when since_tick = 0 then coalesce(dropped, 0) else 0 end

-- E8: behind an event in trouble, later events of its key wait until it is dealt with
-- (of consumers whose dead letters halt their keys, and of events parked in this cluster)
with chain as (
    select coalesce(max(n), -1) as chain_n, coalesce(max(max_id), 0) as chain_end
    from (
        select n, max_id from outbox.tick where base is not null order by n desc limit 1
    ) as newest_chain
),
-- The first in trouble of each key and lane: lanes do not wait for one another.
held as (
    select distinct on (consumer, lane, key)
        consumer, name, generation, shards, topics, lane, key, part, tick, id
    from outbox.delivery
    join outbox.consumer using (consumer)
    where on_dead = 'halt' and tick > (select chain_n from chain)
    order by consumer, lane, key, tick, id
),
place as (
    select held.*, at.snapshot as at, before.snapshot as before, passed_id,
        passed.snapshot as passed, passed_before.snapshot as passed_before
    from held
    cross join lateral (
        select tick as passed_tick, id as passed_id
        from outbox.position
        where position.consumer = held.consumer and position.generation = held.generation
            and position.lane = held.lane and shard = held.part % shards
        order by n desc
        limit 1
    ) as stands
    join outbox.tick as at on at.n = held.tick
    join outbox.tick as before on before.n = held.tick - 1
    join outbox.tick as passed on passed.n = passed_tick
    join outbox.tick as passed_before on passed_before.n = passed_tick - 1
)
select name as consumer, event_id, topic, place.key, place.tick as behind_tick,
    place.id as behind_id
from place
join outbox.event
    on event.key = place.key and event.lane = place.lane and event.topic = any (topics)
    and event.id > (select chain_end from chain)
-- It is later than the one in trouble …
where not (
        pg_visible_in_snapshot(xid, place.at)
        and (event.id <= place.id or pg_visible_in_snapshot(xid, before))
    )
    -- … and the consumer went past it …
    and pg_visible_in_snapshot(xid, passed)
    and (event.id <= passed_id or pg_visible_in_snapshot(xid, passed_before))
    -- … without parking it.
    and not exists (
        select from outbox.delivery
        where delivery.consumer = place.consumer and delivery.event_id = event.event_id
    )
    and not exists (select from outbox.cancelled where cancelled.event_id = event.event_id)

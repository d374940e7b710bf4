-- delivery: claim due heads
with recursive instant as materialized (select clock_timestamp() as now),
-- The first of each key that was not tried, from key to key.
untried as (
    (
        select key, event_id
        from outbox.delivery
        where consumer = $1 and state = 'retry' and last_error is null
        order by key, tick, id
        limit 1
    )
    union all
    select next.key, next.event_id
    from untried
    cross join lateral (
        select key, event_id
        from outbox.delivery
        where consumer = $1 and state = 'retry' and last_error is null
            and key > untried.key
        order by key, tick, id
        limit 1
    ) as next
),
-- Some more than are wanted: others may be claiming them.
candidate as materialized (
    (
        select event_id
        from outbox.head
        where consumer = $1 and state = 'retry' and last_error is not null
            and next_at <= (select now from instant)
        order by next_at
        limit 4 * $4::bigint
    )
    union all
    (
        select head.event_id
        from untried
        cross join lateral (
            select event_id
            from outbox.head
            where consumer = $1 and head.event_id = untried.event_id
            offset 0
        ) as head
        limit 4 * $4::bigint
    )
    union all
    select event_id from outbox.head where consumer = $1 and state = 'running'
),
-- Who is silent itself, as all are when the database was away, takes nobody for dead.
live as materialized (
    select member
    from outbox.member
    where consumer = $1 and heartbeat > clock_timestamp() - interval '6 seconds'
),
due as (
    select event_id
    from outbox.delivery as head
    where consumer = $1 and event_id in (select event_id from candidate)
        and ((state = 'retry' and next_at <= clock_timestamp())
            or (state = 'running' and (
                deadline < clock_timestamp()
                or (owner = $2 and event_id <> all ($6))
                or ($5 and $2 in (select member from live)
                    and owner not in (select member from live))
            )))
    limit $4::bigint
    for update skip locked
)
update outbox.delivery as claimed
set state = 'running', attempt = attempt + 1, owner = $2, next_at = null,
    deadline = clock_timestamp() + make_interval(secs => $3::int)
from due
where claimed.consumer = $1 and claimed.event_id = due.event_id
returning claimed.tick, claimed.id, claimed.event_id, claimed.topic,
    claimed.schema_version, claimed.key, claimed.part, claimed.lane, claimed.at,
    claimed.payload as "payload: _", claimed.actor, claimed.reason, claimed.request_id,
    claimed.caused_by, claimed.batch_id, claimed.traceparent, claimed.attempt

-- M4: each close was started once, completed once for each time it ran, and settled once
-- (of what is younger than the history that was dropped: ids count up with time)
select run_id, month, state, started, reopened, completed, settled, settled_at
from billing.month_close
left join (
    select payload ->> 'run_id' as run,
        count(*) filter (where topic = 'month_close.started') as started,
        count(*) filter (where topic = 'month_close.reopened') as reopened,
        count(*) filter (where topic = 'month_close.completed') as completed,
        -- A batch ends once, and a month that was opened again has another.
        count(*) filter (where topic = 'month_close.settled') as settled,
        count(distinct key) filter (where topic = 'month_close.settled') as batches
    from outbox.event
    where topic like 'month_close.%'
    group by payload ->> 'run_id'
) as told on run = run_id::text
where run_id > (select event_id from outbox.retained) and (
    started is distinct from 1
    or completed is distinct from reopened + (state = 'closed')::int
    or settled is distinct from batches
    or (settled_at is not null and settled = 0)
)

-- M4: each close was started once, and completed once for each time it ran
-- (of what is younger than the history that was dropped: ids count up with time)
select run_id, month, state, started, reopened, completed
from billing.month_close
left join (
    select key as run_id,
        count(*) filter (where topic = 'month_close.started') as started,
        count(*) filter (where topic = 'month_close.reopened') as reopened,
        count(*) filter (where topic = 'month_close.completed') as completed
    from outbox.event
    where topic like 'month_close.%'
    group by key
) as told using (run_id)
where run_id > (select event_id from outbox.retained) and (
    started is distinct from 1
    or completed is distinct from reopened + (state = 'closed')::int
)

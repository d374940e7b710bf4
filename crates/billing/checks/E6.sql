-- E6: at rest, no delivery is being retried and none is dead
-- (a run of the checks may be under way: it looks at the others)
select name as consumer, event_id, topic, state, attempt, coalesce(dead_reason, last_error) as why
from outbox.delivery
join outbox.consumer using (consumer)
where topic <> 'check.due' or state = 'dead'

-- E6: at rest, no delivery is being retried and none is dead
select name as consumer, event_id, topic, state, attempt, coalesce(dead_reason, last_error) as why
from outbox.delivery
join outbox.consumer using (consumer)

-- E10: each event in trouble is one of the log, as the log has it
select name as consumer, delivery.event_id, delivery.topic, delivery.key, event.topic as logged
from outbox.delivery
join outbox.consumer using (consumer)
left join outbox.event on event.id = delivery.id
where delivery.id > (select id from outbox.retained)
    and (delivery.event_id, delivery.topic, delivery.key, delivery.lane)
        is distinct from (event.event_id, event.topic, event.key, event.lane)

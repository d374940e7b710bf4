-- A3: every event names who acted
select event_id, topic, key, at
from outbox.event
where coalesce(btrim(actor), '') = ''

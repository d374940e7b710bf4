-- Why: whoever looks for deliveries to try went through all open ones of the consumer, and compared
-- each with the others of its key. One key that kept 100,000 events waiting cost forty seconds a
-- look, several times a second; 300 rows that the planner knew nothing of, fifteen milliseconds.
--
-- A head is the lowest open delivery of its key. Each row asks an index which one that is. Asked
-- whether there is an earlier one, the planner goes through the table where a key has many: it
-- expects to find one soon, and of a head there is none.
drop index outbox.delivery_open;
create index delivery_open on outbox.delivery (consumer, key, tick, id) where state <> 'dead';

create view outbox.head as
select consumer, event_id, state, next_at, deadline, owner, last_error
from outbox.delivery as head
join outbox.consumer using (consumer)
where state <> 'dead'
    and event_id = (
        select first.event_id
        from outbox.delivery as first
        where first.consumer = head.consumer and first.key = head.key and first.state <> 'dead'
        order by first.tick, first.id
        limit 1
    )
    and (on_dead <> 'halt' or event_id = (
        select first.event_id
        from outbox.delivery as first
        where first.consumer = head.consumer and first.key = head.key
        order by first.tick, first.id
        limit 1
    ));

-- Those that were tried wait for their time, and nearly all are heads. Those that were not wait
-- for the one before them: only the first of a key can be a head. Few run.
create index delivery_tried on outbox.delivery (consumer, next_at)
    where state = 'retry' and last_error is not null;
create index delivery_untried on outbox.delivery (consumer, key, tick, id)
    where state = 'retry' and last_error is null;
create index delivery_running on outbox.delivery (consumer) where state = 'running';

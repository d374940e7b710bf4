-- Why: whoever looks for deliveries to try went through all open ones of the consumer, and compared
-- each with the others of its key. One key that kept 100,000 events waiting cost forty seconds a
-- look, several times a second; 300 rows that the planner knew nothing of, fifteen milliseconds.
--
-- A head is the lowest open delivery of its key. Each row asks an index whether it is one:
-- `offset 0` keeps the planner from comparing all with all.
drop index outbox.delivery_open;
create index delivery_open on outbox.delivery (consumer, key, tick, id) where state <> 'dead';

create view outbox.head as
select consumer, event_id, state, next_at, deadline, owner, last_error
from outbox.delivery as head
join outbox.consumer using (consumer)
where state <> 'dead'
    and not exists (
        select from outbox.delivery as earlier
        where earlier.consumer = head.consumer and earlier.key = head.key
            and (earlier.tick, earlier.id) < (head.tick, head.id)
            and earlier.state <> 'dead'
        offset 0
    )
    and (on_dead <> 'halt' or not exists (
        select from outbox.delivery as earlier
        where earlier.consumer = head.consumer and earlier.key = head.key
            and (earlier.tick, earlier.id) < (head.tick, head.id)
        offset 0
    ));

-- Those that were tried wait for their time, and nearly all are heads. Those that were not wait
-- for the one before them: only the first of a key can be a head. Few run.
create index delivery_tried on outbox.delivery (consumer, next_at)
    where state = 'retry' and last_error is not null;
create index delivery_untried on outbox.delivery (consumer, key, tick, id)
    where state = 'retry' and last_error is null;
create index delivery_running on outbox.delivery (consumer) where state = 'running';

-- What stands beside an event's facts travels in the headers of a message, which has an upper
-- bound: one above it would hold up all behind it. Rows that are there are not looked at again.
alter table outbox.event
    add constraint event_words_short check (
        octet_length(topic) <= 200
        and octet_length(actor) <= 1000
        and octet_length(reason) <= 4000
        and octet_length(traceparent) <= 100
    ) not valid;
alter table outbox.timer
    add constraint timer_words_short check (
        octet_length(topic) <= 200
        and octet_length(actor) <= 1000
        and octet_length(reason) <= 4000
        and octet_length(traceparent) <= 100
    ) not valid;
alter table outbox.batch
    add constraint batch_words_short check (
        octet_length(actor) <= 1000
        and octet_length(reason) <= 4000
        and octet_length(traceparent) <= 100
    ) not valid;

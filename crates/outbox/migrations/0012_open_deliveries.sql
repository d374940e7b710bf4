-- Whether a consumer is in trouble is asked several times a second, beside any number of dead
-- letters.
create index delivery_open on outbox.delivery (consumer) where state <> 'dead';

-- How many of a tick's events are of the bulk lane: what reads the other one goes past a million
-- bulk events in one page, and need not look for its own among them. Unknown for older ticks.
alter table outbox.tick add column bulk bigint;

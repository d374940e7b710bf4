-- Which topics a tick holds: who reads others goes past it, a month's import or the waves of a
-- close, without looking through its events. Unknown for older ticks.
alter table outbox.tick add column topics text[];

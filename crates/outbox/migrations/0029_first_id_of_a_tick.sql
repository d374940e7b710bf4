-- Why: a reader goes through a giant tick by its ids. The floor of the tick before is a bound from
-- below, but it lags: it was drawn a tick earlier, so that all ids of the tick before were looked
-- through once more by each consumer, a month's import for the sake of its close. Unknown for older
-- ticks.
alter table outbox.tick add column min_id bigint;

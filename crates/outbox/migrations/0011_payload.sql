-- A payload is kept as the text that was written: the log hands it out as it is, which is most of
-- what it does with it, and taking a tree apart and writing it again took a fifth of a page. Who
-- asks a payload many things in SQL casts it once to jsonb. (This rewrites the log; it is young.)
alter table outbox.event alter column payload type json using payload::json;
alter table outbox.timer alter column payload type json using payload::json;
alter table outbox.delivery alter column payload type json using payload::json;

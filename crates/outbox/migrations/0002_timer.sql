-- Why: a follow-up that is due later (a reminder, a retry in three days) is planned in the
-- transaction that decides it. A timer is an event that waits outside of the log; when it is due it
-- moves into outbox.event under the same event_id.

create table outbox.timer (
    event_id       uuid        primary key,
    due_at         timestamptz not null,
    topic          text        not null,
    schema_version smallint    not null,
    key            uuid        not null,
    part           smallint    not null,
    lane           smallint    not null,
    payload        jsonb       not null,
    actor          text        not null,
    reason         text,
    request_id     uuid,
    caused_by      uuid,
    traceparent    text,
    made_at        timestamptz not null default clock_timestamp(),
    -- The checks of outbox.event: a timer that the log refused would hold up all that are due
    -- after it.
    constraint timer_topic_named   check (topic <> ''),
    constraint timer_actor_named   check (actor <> ''),
    constraint timer_lane_known    check (lane in (0, 1)),
    constraint timer_part_in_range check (part between 0 and 63),
    constraint timer_payload_small check (pg_column_size(payload) <= 262144)
)
-- Fired rows lie at the low end of the index, where every look for due ones begins.
with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);

create index timer_by_due on outbox.timer (due_at);
create index timer_by_key on outbox.timer (key, due_at);

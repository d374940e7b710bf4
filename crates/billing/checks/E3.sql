-- E3: each payment and refund that ended is announced once, with its amount, and no other is
-- (of what is younger than the history that was dropped: ids count up with time)
with told as (
    select coalesce(payload ->> 'refund_id', payload ->> 'payment_id')::uuid as id, topic,
        min(coalesce(payload ->> 'captured_minor', payload ->> 'amount_minor')::bigint) as minor,
        count(*) as events
    from outbox.event
    where topic in (
        'payment.succeeded', 'payment.declined', 'refund.succeeded', 'refund.declined'
    )
    group by 1, 2
),
ended as (
    select payment_id as id, 'payment.' || state as topic, state,
        coalesce(captured_minor, amount_minor) as minor
    from billing.payment
    where state in ('succeeded', 'declined')
    union all
    select refund_id, 'refund.' || state, state, amount_minor
    from billing.refund
    where state in ('succeeded', 'declined')
)
select id, topic, state, ended.minor, told.minor as told_minor, events
from ended
full join told using (id, topic)
where (events is null and id > (select event_id from outbox.retained))
    or events > 1
    or (events is not null and ended.minor is distinct from told.minor)

-- E3: each payment and refund that ended is announced once, with its amount, and no other is
-- (of what is younger than the history that was dropped: ids count up with time)
with told as (
    select split_part(topic, '.', 1) as kind, split_part(topic, '.', 2) as state,
        coalesce(payload ->> 'refund_id', payload ->> 'payment_id')::uuid as id,
        coalesce(payload ->> 'captured_minor', payload ->> 'amount_minor')::bigint as told_minor,
        count(*) as events
    from outbox.event
    where topic in (
        'payment.succeeded', 'payment.declined', 'refund.succeeded', 'refund.declined'
    )
    group by 1, 2, 3, 4
),
ended as (
    select 'payment' as kind, state, payment_id as id,
        coalesce(captured_minor, amount_minor) as minor
    from billing.payment
    where state in ('succeeded', 'declined')
    union all
    select 'refund', state, refund_id, amount_minor
    from billing.refund
    where state in ('succeeded', 'declined')
)
select kind, id, state, minor, told_minor, events
from ended
full join told using (kind, id, state)
where (events is null and id > (select event_id from outbox.retained))
    or (events is not null and (events > 1 or minor is distinct from told_minor))

-- E3: each payment that succeeded or was declined is announced once, with its amount
-- (of what is younger than the history that was dropped: ids count up with time)
select payment_id, state, amount_minor, captured_minor, events
from billing.payment
left join (
    select (payload ->> 'payment_id')::uuid as payment_id,
        case topic when 'payment.succeeded' then 'succeeded' else 'declined' end as state,
        coalesce(payload ->> 'captured_minor', payload ->> 'amount_minor')::bigint as minor,
        count(*) as events
    from outbox.event
    where topic in ('payment.succeeded', 'payment.declined')
    group by 1, 2, 3
) as event using (payment_id, state)
where state in ('succeeded', 'declined') and payment_id > (select event_id from outbox.retained)
    and (events is distinct from 1 or minor is distinct from coalesce(captured_minor, amount_minor))

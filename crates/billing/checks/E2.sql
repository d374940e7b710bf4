-- E2: no event without the row that it tells of
-- (ends of payments and refunds are compared by E3)
select event_id, topic, event.key
from outbox.event
left join billing.invoice on invoice_id::text = payload ->> 'invoice_id'
where topic in ('payment.wanted', 'dunning.due') and invoice_id is null
union all
select event_id, topic, event.key
from outbox.event
left join billing.account on account_id = event.key
where topic in ('account.created', 'account.changed') and account_id is null
union all
select event_id, topic, event.key
from outbox.event
left join billing.month_close on run_id::text = payload ->> 'run_id'
where topic like 'month_close.%' and run_id is null
union all
-- Of these each is named by the row that it tells of.
select event_id, topic, event.key
from outbox.event
left join (
    select announced_by as named from billing.price
    union all
    select announced_by from billing.subscription
    union all
    select announced_by from billing.payment_method
    union all
    select removed_event from billing.payment_method where removed_event is not null
    union all
    select announced_by from billing.credit
    union all
    select announced_by from billing.hold
    union all
    select released_event from billing.hold where released_event is not null
    union all
    select requested_event from billing.refund
    union all
    select announced_by from billing.invoice
    union all
    select paid_event from billing.invoice where paid_event is not null
) as named_by_row on named = event_id
where topic in (
        'price.created', 'subscription.started', 'payment_method.added', 'payment_method.removed',
        'credit.granted', 'hold.placed', 'hold.released', 'refund.requested', 'invoice.finalized',
        'invoice.paid'
    )
    and named is null

-- A1: whatever was made has the event that tells who made it, and ends that were set too
-- (of what is younger than the history that was dropped: ids count up with time)
with made as (
    select 'invoice' as what, invoice_id as id, announced_by, account_id as key,
        'invoice.finalized' as topic
    from billing.invoice
    union all
    select 'account', account_id, announced_by, account_id, 'account.created'
    from billing.account
    union all
    select 'price', price_id, announced_by, price_id, 'price.created'
    from billing.price
    union all
    select 'subscription', subscription_id, announced_by, account_id, 'subscription.started'
    from billing.subscription
    union all
    select 'end of subscription', subscription_id, ended_event, account_id, 'subscription.ended'
    from billing.subscription
    where ended_event is not null
    union all
    select 'payment_method', payment_method_id, announced_by, account_id, 'payment_method.added'
    from billing.payment_method
    union all
    select 'end of payment_method', payment_method_id, removed_event, account_id,
        'payment_method.removed'
    from billing.payment_method
    where removed_at is not null
    union all
    select 'credit', credit_id, announced_by, account_id, 'credit.granted'
    from billing.credit
    union all
    select 'payment of invoice', invoice_id, paid_event, account_id, 'invoice.paid'
    from billing.invoice
    where paid_event is not null or (state = 'paid' and paid_at > finalized_at)
    union all
    select 'hold', hold_id, announced_by, account_id, 'hold.placed'
    from billing.hold
    union all
    select 'end of hold', hold_id, released_event, account_id, 'hold.released'
    from billing.hold
    where released_at is not null
    union all
    select 'refund', refund_id, requested_event, account_id, 'refund.requested'
    from billing.refund
    union all
    select 'end of refund', refund_id, succeeded_event, account_id, 'refund.succeeded'
    from billing.refund
    where state = 'succeeded'
)
select what, made.id, announced_by
from made
left join outbox.event
    on event_id = announced_by and event.topic = made.topic and event.key = made.key
where event_id is null and (announced_by > (select event_id from outbox.retained)) is not false
union all
select 'month_close', run_id, null
from billing.month_close
left join outbox.event on topic = 'month_close.started' and event.key = run_id
where event_id is null and run_id > (select event_id from outbox.retained)

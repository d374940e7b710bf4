-- E2: no event without the row that it tells of
-- (ends of payments and refunds are compared by E3)
select event_id, topic, event.key
from outbox.event
left join billing.invoice on invoice_id::text = payload ->> 'invoice_id'
where topic in ('invoice.finalized', 'invoice.paid', 'payment.wanted', 'dunning.due')
    and invoice_id is null
union all
select event_id, topic, event.key
from outbox.event
left join billing.account on account_id = event.key
where topic in ('account.created', 'account.changed') and account_id is null
union all
select event_id, topic, event.key
from (
    select event_id, topic, key, payload, split_part(topic, '.', 1) as kind
    from outbox.event
    where topic like any (array[
        'price.%', 'month_close.%', 'subscription.%', 'payment_method.%', 'credit.%', 'hold.%',
        'refund.%'
    ])
) as event
left join (
    select 'price' as kind, price_id::text as id from billing.price
    union all
    select 'month_close', run_id::text from billing.month_close
    union all
    select 'subscription', subscription_id::text from billing.subscription
    union all
    select 'payment_method', payment_method_id::text from billing.payment_method
    union all
    select 'credit', credit_id::text from billing.credit
    union all
    select 'hold', hold_id::text from billing.hold
    union all
    select 'refund', refund_id::text from billing.refund
) as told_of
    on told_of.kind = event.kind
    and told_of.id = payload ->> case event.kind
        when 'month_close' then 'run_id'
        else event.kind || '_id'
    end
where told_of.id is null

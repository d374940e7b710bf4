-- E2: no event without the row that it announces
select event_id, topic, event.key
from outbox.event
left join billing.invoice on invoice_id::text = payload ->> 'invoice_id'
where topic = 'invoice.finalized' and invoice_id is null
union all
select event_id, topic, event.key
from outbox.event
left join billing.account on account_id = event.key
where topic = 'account.created' and account_id is null
union all
select event_id, topic, event.key
from outbox.event
left join billing.price on price_id = event.key
where topic = 'price.created' and price_id is null
union all
select event_id, topic, event.key
from outbox.event
left join billing.month_close on run_id::text = payload ->> 'run_id'
where topic like 'month_close.%' and run_id is null

-- A1: each invoice, account, price and close has the event that tells who made it
select 'invoice' as what, invoice_id as id, announced_by
from billing.invoice
left join outbox.event
    on event_id = announced_by and topic = 'invoice.finalized' and event.key = account_id
where event_id is null
union all
select 'account', account_id, announced_by
from billing.account
left join outbox.event
    on event_id = announced_by and topic = 'account.created' and event.key = account_id
where event_id is null
union all
select 'price', price_id, announced_by
from billing.price
left join outbox.event
    on event_id = announced_by and topic = 'price.created' and event.key = price_id
where event_id is null
union all
select 'month_close', run_id, null
from billing.month_close
left join outbox.event on topic = 'month_close.started' and event.key = run_id
where event_id is null

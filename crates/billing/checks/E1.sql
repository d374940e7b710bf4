-- E1: each invoice was announced as final once, under its account's key
-- (of what is younger than the history that was dropped: ids count up with time)
select invoice_id, number, coalesce(announced, 0) as announced
from billing.invoice
left join (
    select payload ->> 'invoice_id' as id, key, count(*) as announced
    from outbox.event
    where topic = 'invoice.finalized'
    group by payload ->> 'invoice_id', key
) as event on event.id = invoice_id::text and event.key = account_id
where announced is distinct from 1 and announced_by > (select event_id from outbox.retained)

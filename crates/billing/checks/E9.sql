-- E9: the event tells what the invoice froze
select invoice_id, number, total_minor, payload
from billing.invoice
join outbox.event on event_id = announced_by and topic = 'invoice.finalized'
where (payload ->> 'invoice_id') is distinct from invoice_id::text
    or (payload ->> 'account_id') is distinct from account_id::text
    or (payload ->> 'external_id') is distinct from external_id
    or (payload ->> 'number') is distinct from series || '-' || lpad(
        number::text, greatest(6, length(number::text)), '0'
    )
    or (payload ->> 'currency') is distinct from currency
    or (payload ->> 'subtotal_minor') is distinct from subtotal_minor::text
    or (payload ->> 'tax_minor') is distinct from tax_minor::text
    or (payload ->> 'total_minor') is distinct from total_minor::text
    or replace(payload ->> 'total', '.', '')::numeric is distinct from total_minor
    or (payload ->> 'lines') is distinct from lines::text
    or (payload ->> 'month') is distinct from to_char(month, 'YYYY-MM')
    or (payload ->> 'as_of')::timestamptz is distinct from as_of

-- E9: the event tells what the invoice froze
select invoice_id, number, total_minor, told
from billing.invoice
join outbox.event on event_id = announced_by and topic = 'invoice.finalized'
-- Taken apart once.
cross join lateral (select payload::jsonb as told offset 0) as facts
where (told ->> 'invoice_id') is distinct from invoice_id::text
    or (told ->> 'account_id') is distinct from account_id::text
    or (told ->> 'external_id') is distinct from external_id
    or (told ->> 'number') is distinct from series || '-' || lpad(
        number::text, greatest(6, length(number::text)), '0'
    )
    or (told ->> 'currency') is distinct from currency
    or (told ->> 'subtotal_minor') is distinct from subtotal_minor::text
    or (told ->> 'tax_minor') is distinct from tax_minor::text
    or (told ->> 'total_minor') is distinct from total_minor::text
    or replace(told ->> 'total', '.', '')::numeric is distinct from total_minor
    or (told ->> 'lines') is distinct from lines::text
    or (told ->> 'month') is distinct from to_char(month, 'YYYY-MM')
    or (told ->> 'as_of')::timestamptz is distinct from as_of

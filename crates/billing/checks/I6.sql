-- I6: an invoice is paid if and only if nothing is due on it
select invoice_id, number, state, total_minor, settled_minor
from billing.invoice
where state in ('finalized', 'paid')
    and (state = 'paid') <> (settled_minor >= greatest(total_minor, 0))

-- I6: an invoice is paid if and only if nothing is due on it
select invoice_id, number, state, total_minor
from billing.invoice
where state in ('finalized', 'paid') and (state = 'paid') <> (total_minor <= 0)

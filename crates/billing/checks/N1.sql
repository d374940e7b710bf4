-- N1: at rest, each final invoice that asks for something was told to its customer, or it says why not
select invoice_id, number, total_minor, notice.state
from billing.invoice
left join billing.notice on kind = 'invoice' and cause = invoice_id
where total_minor <> 0 and (notice.state is null or notice.state = 'intended')

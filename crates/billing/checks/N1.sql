-- N1: at rest, each final invoice that asks for something was told of, or it is said why not
select invoice.invoice_id, number, total_minor, notice.state
from billing.invoice
left join billing.notice on notice.kind = 'invoice' and cause = invoice.invoice_id
where total_minor <> 0 and (notice.state is null or notice.state = 'intended')

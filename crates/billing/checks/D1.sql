-- D1: at rest, every invoice has its document written
select invoice_id, number, document.state, path
from billing.invoice
left join billing.document using (invoice_id)
where document.state is distinct from 'written'
    or sha256 is null or bytes is null or bytes <= 0 or written_at is null

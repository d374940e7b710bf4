-- H2: an invoice is in dunning only while it is unpaid
select invoice_id, invoice.state, dunning.state as dunning
from billing.dunning
join billing.invoice using (invoice_id)
where (dunning.state = 'closed') <> (invoice.state <> 'finalized')

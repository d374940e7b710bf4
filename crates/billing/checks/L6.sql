-- L6: no transfer without its source
select transfer_id, source_kind, source_id, amount_minor
from billing.transfer
where not (
    source_kind = 'invoice'
    and exists (select from billing.invoice where invoice_id = source_id)
)

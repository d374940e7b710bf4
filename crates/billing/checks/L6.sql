-- L6: no transfer without its source
select source_kind, source_id, amount_minor
from billing.transfer
where not case source_kind
    when 'invoice' then exists (select from billing.invoice where invoice_id = source_id)
    when 'payment' then exists (select from billing.payment where payment_id = source_id)
    when 'payment_excess' then exists (select from billing.payment where payment_id = source_id)
    when 'credit' then exists (select from billing.credit where credit_id = source_id)
    when 'credit_use' then exists (select from billing.credit_use where credit_use_id = source_id)
    when 'refund' then exists (select from billing.refund where refund_id = source_id)
    when 'refund_credit' then exists (select from billing.refund where refund_id = source_id)
    else false
end

-- L6: no transfer without its source, which is of the same account and currency
select source_kind, source_id, amount_minor
from billing.transfer
where not case source_kind
    when 'invoice' then exists (select from billing.invoice where invoice_id = source_id)
    when 'payment' then exists (
        select from billing.payment as source
        where payment_id = source_id and source.account_id = transfer.account_id
            and source.currency = transfer.currency
    )
    when 'payment_excess' then exists (
        select from billing.payment as source
        where payment_id = source_id and source.account_id = transfer.account_id
            and source.currency = transfer.currency
    )
    when 'credit' then exists (
        select from billing.credit as source
        where credit_id = source_id and source.account_id = transfer.account_id
            and source.currency = transfer.currency
    )
    when 'credit_use' then exists (
        select from billing.credit_use as source
        where credit_use_id = source_id and source.account_id = transfer.account_id
            and source.currency = transfer.currency
    )
    when 'refund' then exists (
        select from billing.refund as source
        where refund_id = source_id and source.account_id = transfer.account_id
            and source.currency = transfer.currency
    )
    when 'refund_credit' then exists (
        select from billing.refund as source
        where refund_id = source_id and source.account_id = transfer.account_id
            and source.currency = transfer.currency
    )
    else false
end

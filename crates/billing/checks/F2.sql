-- F2: what follows an invoice or a payment is of its account, and in its currency
select 'credit_use' as what, credit_use_id as id, credit_use.account_id, credit_use.currency
from billing.credit_use
left join billing.invoice using (invoice_id)
where (credit_use.account_id, credit_use.currency)
    is distinct from (invoice.account_id, invoice.currency)
union all
select 'refund', refund_id, refund.account_id, refund.currency
from billing.refund
left join billing.payment using (payment_id)
where (refund.account_id, refund.currency)
    is distinct from (payment.account_id, payment.currency)
union all
select 'dunning', invoice_id, dunning.account_id, null
from billing.dunning
left join billing.invoice using (invoice_id)
where dunning.account_id is distinct from invoice.account_id
union all
select 'hold', hold_id, account_id, null
from billing.hold
where not exists (select from billing.account where account.account_id = hold.account_id)

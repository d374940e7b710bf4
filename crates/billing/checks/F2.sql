-- F2: what payments, notices and documents name is there, and is the same customer's
select 'payment' as what, payment_id as id
from billing.payment
left join billing.account using (account_id)
left join billing.invoice using (invoice_id)
left join billing.payment_method using (payment_method_id)
where account.account_id is null
    or (payment.invoice_id is not null
        and invoice.account_id is distinct from payment.account_id)
    or (payment.payment_method_id is not null
        and payment_method.account_id is distinct from payment.account_id)
union all
select 'notice', notice_id
from billing.notice
left join billing.account using (account_id)
left join billing.invoice using (invoice_id)
where account.account_id is null
    or (notice.invoice_id is not null
        and invoice.account_id is distinct from notice.account_id)
union all
select 'document', document.invoice_id
from billing.document
left join billing.invoice using (invoice_id)
where invoice.invoice_id is null

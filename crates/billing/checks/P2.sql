-- P2: only an account's own card was charged, not above the total and not after it was removed
select payment_id, payment.account_id, payment.currency, amount_minor, total_minor, sent_at,
    removed_at
from billing.payment
join billing.payment_method using (payment_method_id)
join billing.invoice using (invoice_id)
where payment.state <> 'cancelled'
    and (
        amount_minor > total_minor - credit_minor
        or sent_at > removed_at
        or payment.account_id <> payment_method.account_id
        or payment.gateway <> payment_method.gateway
        or (payment.account_id, payment.currency) <> (invoice.account_id, invoice.currency)
    )

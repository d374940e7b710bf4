-- P2: no card was charged above what was asked for when it was sent, nor after it was removed
select payment_id, amount_minor, total_minor, sent_at, removed_at
from billing.payment
join billing.payment_method using (payment_method_id)
join billing.invoice using (invoice_id)
where payment.state <> 'cancelled'
    and (amount_minor > total_minor - credit_minor or sent_at > removed_at)

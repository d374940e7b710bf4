-- P5: no payment was refunded above what it captured
select payment_id, payment.state, captured_minor, sum(refund.amount_minor) as refunded_minor
from billing.refund
join billing.payment using (payment_id)
where refund.state <> 'declined'
group by payment_id, payment.state, captured_minor
having sum(refund.amount_minor) > coalesce(captured_minor, 0)

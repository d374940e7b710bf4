-- P9: no card was charged more than was still due when the charge was sent
-- (the instants are of several hosts' clocks, which may differ by a second)
with settled as (
    select payment_id, sum(minor) as minor
    from (
        select payment.payment_id, other.applied_minor as minor
        from billing.payment
        join billing.payment as other using (invoice_id)
        where other.state = 'succeeded' and other.payment_id <> payment.payment_id
            and other.settled_at < payment.sent_at - interval '1 second'
        union all
        select payment_id, credit_use.amount_minor
        from billing.payment
        join billing.credit_use using (invoice_id)
        where used_at < sent_at - interval '1 second'
    ) as earlier
    group by payment_id
)
select payment_id, payment.state, amount_minor, total_minor, minor as settled_before, sent_at
from settled
join billing.payment using (payment_id)
join billing.invoice using (invoice_id)
where payment.kind = 'card' and payment.state <> 'cancelled' and amount_minor > total_minor - minor
    -- One that was told of before it was marked as sent has no such instant.
    and deadline > sent_at

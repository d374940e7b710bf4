-- P11: payments, refunds, invoices and dunnings are in states that what they went through allows
select 'payment' as what, payment_id as id, state
from billing.payment
where case
    when state in ('created', 'sent', 'unknown', 'manual')
        then num_nonnulls(settled_at, captured_minor, applied_minor, decline_code) > 0
    when state = 'succeeded'
        then num_nulls(settled_at, captured_minor, applied_minor) > 0 or decline_code is not null
    when state = 'declined'
        then num_nulls(settled_at, decline_code) > 0
            or num_nonnulls(captured_minor, applied_minor) > 0
    when state = 'cancelled'
        then settled_at is null
            or num_nonnulls(captured_minor, applied_minor, decline_code) > 0
    else true
end
    or (state = 'created' and sent_at is not null)
    or (kind = 'by_hand' and state <> 'succeeded')
union all
select 'refund', refund_id, state
from billing.refund
where case
    when state in ('created', 'sent', 'unknown') then num_nonnulls(settled_at, credit_minor) > 0
    when state = 'succeeded' then num_nulls(settled_at, credit_minor) > 0
    when state = 'declined' then settled_at is null or credit_minor is not null
    else true
end
union all
select 'invoice', invoice_id, state
from billing.invoice
where (state = 'void') <> (voided_at is not null)
union all
select 'dunning', invoice_id, state
from billing.dunning
where (state = 'closed') <> (closed_at is not null)

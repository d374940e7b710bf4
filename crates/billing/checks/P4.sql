-- P4: at rest, no payment and no refund was left between two steps
select 'payment' as kind, payment_id as id, state, created_at, sent_at
from billing.payment
where state in ('created', 'sent')
union all
select 'refund', refund_id, state, created_at, sent_at
from billing.refund
where state in ('created', 'sent')

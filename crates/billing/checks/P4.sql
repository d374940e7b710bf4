-- P4: at rest, no payment was left between two steps
select payment_id, state, created_at, sent_at
from billing.payment
where state in ('created', 'sent')

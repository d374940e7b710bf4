-- P8: each charge was written down before it was sent, and sent before it ended
-- (the instants are of several hosts' clocks, which may differ by five seconds)
select payment_id, state, created_at, sent_at, deadline, settled_at
from billing.payment
where kind = 'card'
    and (
        (state not in ('created', 'cancelled') and num_nulls(created_at, sent_at, deadline) > 0)
        or sent_at < created_at - interval '5 seconds'
        or settled_at < greatest(created_at, sent_at) - interval '5 seconds'
    )

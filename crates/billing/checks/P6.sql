-- P6: no payment is open two hours after its key ceased to be safe: it is asked for every hour
select payment_id, account_id, state, sent_at, deadline, look_ups
from billing.payment
where state in ('sent', 'unknown') and deadline < now() - interval '2 hours'

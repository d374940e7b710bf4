-- M3: every recorded usage is in its period's sum, once
select account_id, period_seq, price_id, usage_month, recorded.events as recorded,
    usage_sum.events as summed
from (
    select account_id, period_seq, price_id, usage_month, count(*) as events,
        sum(quantity) as quantity, sum(amount) as amount,
        bit_xor(('x' || encode(substr(body_hash, 1, 8), 'hex'))::bit(64)::bigint) as digest
    from billing.usage_event
    group by account_id, period_seq, price_id, usage_month
) as recorded
full join billing.usage_sum using (account_id, period_seq, price_id, usage_month)
where (recorded.events, recorded.quantity, recorded.amount, recorded.digest)
    is distinct from (usage_sum.events, usage_sum.quantity, usage_sum.amount, usage_sum.digest)

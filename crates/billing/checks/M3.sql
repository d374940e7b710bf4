-- M3: recorded usage is summed once, and the sums of a billed period are on its lines once
with recorded as (
    select account_id, period_seq, price_id, usage_month, count(*) as events,
        sum(quantity) as quantity, sum(amount) as amount,
        bit_xor(('x' || encode(substr(body_hash, 1, 8), 'hex'))::bit(64)::bigint) as digest
    from billing.usage_event
    group by account_id, period_seq, price_id, usage_month
),
line as (
    select account_id, period_seq, price_id, usage_month, count(*) as lines,
        min(usage_events) as events, min(quantity) as quantity, min(usage_digest) as digest,
        min(exact) as exact, min(line.model) as model, min(line.unit_price) as unit_price,
        min(price.unit_price) as price_rate
    from billing.line
    join billing.invoice using (invoice_id)
    left join billing.price using (price_id)
    where state <> 'void'
    group by account_id, period_seq, price_id, usage_month
)
select account_id, period_seq, price_id, usage_month, period.state, recorded.events,
    usage_sum.events as summed, line.events as billed, lines
from recorded
full join billing.usage_sum using (account_id, period_seq, price_id, usage_month)
full join line using (account_id, period_seq, price_id, usage_month)
left join (
    select account_id, seq as period_seq, state from billing.period
) as period using (account_id, period_seq)
where (recorded.events, recorded.quantity, recorded.amount, recorded.digest)
    is distinct from (usage_sum.events, usage_sum.quantity, usage_sum.amount, usage_sum.digest)
    or coalesce(lines, 0) <> coalesce(period.state = 'billed', false)::int
    or (lines is not null and (
        (line.events, line.quantity, line.digest)
        is distinct from (usage_sum.events, usage_sum.quantity, usage_sum.digest)
        or line.unit_price is distinct from price_rate
        or exact is distinct from case model
            when 'per_unit' then line.unit_price * line.quantity
            else usage_sum.amount
        end
    ))

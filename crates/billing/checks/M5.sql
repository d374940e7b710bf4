-- M5: the sums of a billed period are on its lines, each once and at its price
with line as (
    select account_id, period_seq, price_id, usage_month, count(*) as lines,
        min(usage_events) as events, min(quantity) as quantity, min(usage_digest) as digest,
        min(exact) as exact, min(model) as model, min(unit_price) as unit_price
    from billing.line
    join billing.invoice using (invoice_id)
    where state <> 'void' and subscription_id is null
    group by account_id, period_seq, price_id, usage_month
)
select account_id, period_seq, price_id, usage_month, period.state, usage_sum.events as summed,
    line.events as billed, lines
from billing.usage_sum
full join line using (account_id, period_seq, price_id, usage_month)
left join billing.price using (price_id)
left join (
    select account_id, seq as period_seq, state from billing.period
) as period using (account_id, period_seq)
where coalesce(lines, 0) <> coalesce(period.state = 'billed', false)::int
    or (lines is not null and (
        (line.events, line.quantity, line.digest)
        is distinct from (usage_sum.events, usage_sum.quantity, usage_sum.digest)
        or (line.model, line.unit_price) is distinct from (price.model, price.unit_price)
        or exact is distinct from case line.model
            when 'per_unit' then line.unit_price * line.quantity
            else usage_sum.amount
        end
    ))

-- M6: the subscriptions of a billed period are on its invoice, each once and at its price
with priced as (
    select price_id, model, unit_price, monthly_price, cap_hours, case
        when currency in (
            'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
            'VND', 'VUV', 'XAF', 'XOF', 'XPF'
        ) then 0
        when currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 3
        when currency in ('CLF', 'UYW') then 4
        else 2
    end as decimals
    from billing.price
    where model in ('flat', 'hourly_capped')
),
held as (
    select subscription.account_id, seq as period_seq, subscription_id, price_id, model,
        unit_price, monthly_price, cap_hours, decimals, month, quantity,
        greatest(subscription.start_at, period.start_at) as served_from,
        least(subscription.end_at, period.end_at) as served_until,
        -- Civil days of the period, before the subscription's part of it and up to its end.
        (period.end_at at time zone zone)::date
            - (period.start_at at time zone zone)::date as days,
        (greatest(subscription.start_at, period.start_at) at time zone zone)::date
            - (period.start_at at time zone zone)::date as days_before,
        (least(subscription.end_at, period.end_at) at time zone zone)::date
            - (period.start_at at time zone zone)::date as days_until,
        -- Hours of its life that begin before the period's end, but not before its start.
        ceil(extract(epoch from
            least(subscription.end_at, period.end_at) - subscription.start_at) / 3600)
        - ceil(extract(epoch from
            greatest(subscription.start_at, period.start_at) - subscription.start_at) / 3600)
            as hours
    from billing.subscription
    join billing.period
        on period.account_id = subscription.account_id and period.state = 'billed'
        and period.end_at > subscription.start_at
        and (subscription.end_at is null or subscription.end_at > period.start_at)
    join priced using (price_id)
),
exact as (
    select *, case
            when model = 'flat' and days_before = 0 and days_until = days
                then unit_price * quantity
            -- A part costs what it adds to the parts before it.
            when model = 'flat' then round(whole * days_until / days, decimals)
                - round(whole * days_before / days, decimals)
            when hours >= cap_hours or round(unit_price * hours, decimals)
                > round(monthly_price, decimals) then monthly_price
            else unit_price * hours
        end as exact
    from held
    cross join lateral (
        select round(unit_price * quantity, decimals)::numeric(60, 12) as whole
    ) as month
    where case model when 'flat' then days_until > days_before else hours > 0 end
),
line as (
    select account_id, period_seq, subscription_id, price_id, count(*) as lines,
        min(model) as model, min(unit_price) as unit_price, min(monthly_price) as monthly_price,
        min(cap_hours) as cap_hours, min(usage_month) as month,
        min(served_from) as served_from, min(served_until) as served_until,
        min(quantity) as quantity, min(exact) as exact, sum(usage_events) as events
    from billing.line
    join billing.invoice using (invoice_id)
    where state <> 'void' and subscription_id is not null
    group by account_id, period_seq, subscription_id, price_id
)
select account_id, period_seq, subscription_id, price_id, lines, line.exact as billed, exact.exact
from exact
full join line using (account_id, period_seq, subscription_id, price_id)
where lines is distinct from 1 or events <> 0
    or (
        line.model, line.unit_price, line.monthly_price, line.cap_hours, line.month,
        line.served_from, line.served_until, line.quantity, line.exact
    ) is distinct from (
        exact.model, exact.unit_price, exact.monthly_price, exact.cap_hours, exact.month,
        exact.served_from, exact.served_until,
        case exact.model when 'flat' then exact.quantity else exact.hours end, exact.exact
    )

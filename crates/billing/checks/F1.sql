-- F1: what rows refer to exists, also where no foreign key says so
select 'period' as of, 'account' as lacks, account_id::text as id
from billing.period
where not exists (select from billing.account where account.account_id = period.account_id)
union all
select 'period', 'month_close', run_id::text
from billing.period
where run_id is not null
    and not exists (select from billing.month_close where month_close.run_id = period.run_id)
union all
select 'subscription', 'account', account_id::text
from billing.subscription
where not exists (select from billing.account where account.account_id = subscription.account_id)
union all
select 'subscription', 'price', price_id::text
from billing.subscription
where not exists (select from billing.price where price.price_id = subscription.price_id)
union all
-- A period stands for its account.
select 'usage_event', 'period', account_id || ' ' || period_seq
from billing.usage_event
where not exists (
    select from billing.period
    where period.account_id = usage_event.account_id and seq = period_seq
)
union all
select 'usage_event', 'price', price_id::text
from billing.usage_event
where not exists (select from billing.price where price.price_id = usage_event.price_id)
union all
select 'usage_sum', 'period', account_id || ' ' || period_seq
from billing.usage_sum
where not exists (
    select from billing.period
    where period.account_id = usage_sum.account_id and seq = period_seq
)
union all
select 'usage_sum', 'price', price_id::text
from billing.usage_sum
where not exists (select from billing.price where price.price_id = usage_sum.price_id)
union all
select 'invoice', 'period', account_id || ' ' || period_seq
from billing.invoice
where not exists (
    select from billing.period
    where period.account_id = invoice.account_id and seq = period_seq
)
union all
select 'invoice', 'month_close', run_id::text
from billing.invoice
where not exists (select from billing.month_close where month_close.run_id = invoice.run_id)
union all
select 'invoice', 'number_series', series
from billing.invoice
where not exists (select from billing.number_series where number_series.series = invoice.series)
union all
select 'line', 'invoice', invoice_id::text
from billing.line
where not exists (select from billing.invoice where invoice.invoice_id = line.invoice_id)
union all
select 'line', 'price', price_id::text
from billing.line
where not exists (select from billing.price where price.price_id = line.price_id)
union all
select 'line', 'subscription', subscription_id::text
from billing.line
where subscription_id is not null and not exists (
    select from billing.subscription
    where subscription.subscription_id = line.subscription_id
)
union all
select 'transfer', 'account', account_id::text
from billing.transfer
where account_id is not null
    and not exists (select from billing.account where account.account_id = transfer.account_id)
union all
select 'balance', 'account', account_id::text
from billing.balance
where not exists (select from billing.account where account.account_id = balance.account_id)
union all
select 'payment_method', 'account', account_id::text
from billing.payment_method
where not exists (
    select from billing.account where account.account_id = payment_method.account_id
)
union all
select 'credit', 'account', account_id::text
from billing.credit
where not exists (select from billing.account where account.account_id = credit.account_id)
union all
select 'payment', 'account', account_id::text
from billing.payment
where not exists (select from billing.account where account.account_id = payment.account_id)
union all
select 'payment', 'invoice', invoice_id::text
from billing.payment
where invoice_id is not null
    and not exists (select from billing.invoice where invoice.invoice_id = payment.invoice_id)
union all
select 'payment', 'payment_method', payment_method_id::text
from billing.payment
where payment_method_id is not null
    and not exists (
        select from billing.payment_method
        where payment_method.payment_method_id = payment.payment_method_id
    )
union all
select 'notice', 'account', account_id::text
from billing.notice
where not exists (select from billing.account where account.account_id = notice.account_id)
union all
select 'notice', 'invoice', invoice_id::text
from billing.notice
where invoice_id is not null
    and not exists (select from billing.invoice where invoice.invoice_id = notice.invoice_id)
union all
select 'document', 'invoice', invoice_id::text
from billing.document
where not exists (select from billing.invoice where invoice.invoice_id = document.invoice_id)

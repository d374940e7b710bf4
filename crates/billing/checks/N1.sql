-- N1: at rest, customers were told of each invoice, payment and hold, or it is said why not
with wanted as (
    select 'invoice' as kind, invoice_id as cause, account_id
    from billing.invoice
    where total_minor <> 0
    union all
    select case state when 'succeeded' then 'receipt' else 'payment_failed' end, payment_id,
        account_id
    from billing.payment
    where state in ('succeeded', 'declined')
    union all
    select 'hold', hold_id, account_id from billing.hold
    union all
    select 'release', hold_id, account_id from billing.hold where released_at is not null
)
select kind, cause, wanted.account_id, state
from wanted
left join billing.notice using (kind, cause)
where state is null or state = 'intended' or notice.account_id is distinct from wanted.account_id

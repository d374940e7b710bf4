-- M2: every period of a closed month is billed with one invoice, empty, or listed as an exception
-- (of what is younger than the history that was dropped: ids count up with time)
with completed as (
    select key as run_id, max(at) as completed_at
    from outbox.event
    where topic = 'month_close.completed'
    group by key
),
invoice as (
    select account_id, period_seq as seq, count(*) as invoices
    from billing.invoice
    where state <> 'void'
    group by account_id, period_seq
),
seen as (
    select account_id, seq, month, period.state, opened_at, completed_at,
        coalesce(invoices, 0) as invoices,
        reason is not null as listed
    from billing.period
    join billing.month_close using (month)
    left join completed on completed.run_id = month_close.run_id
    left join invoice using (account_id, seq)
    left join (
        select account_id, period_seq as seq, reason from billing.close_exception
    ) as exception using (account_id, seq)
    where month_close.state = 'closed'
        and month_close.run_id > (select event_id from outbox.retained)
)
select account_id, seq, month, state, opened_at, completed_at, invoices, listed
from seen
where (listed <> (state = 'open') or invoices <> (state = 'billed')::int)
    -- A period that is younger than the close waits for the next run.
    and not (state = 'open' and not listed and invoices = 0 and opened_at >= completed_at)

-- M1: the figures a close was completed with are those of the tables, and leave no period out
-- (of what is younger than the history that was dropped: ids count up with time)
with completed as (
    select distinct on (key) key as run_id, payload::jsonb -> 'figures' as figures
    from outbox.event
    where topic = 'month_close.completed'
    order by key, id desc
),
period as (
    select month,
        count(*) filter (where state = 'billed') as billed,
        count(*) filter (where state = 'empty') as empty
    from billing.period
    group by month
),
invoice as (
    select month, count(*) as invoices, sum(lines) as lines, sum(total_minor) as total_minor
    from billing.invoice
    where state <> 'void'
    group by month
),
exception as (
    select month, count(*) as exceptions
    from billing.close_exception
    group by month
)
select month, run_id, figures, billed, invoices, lines, empty, exceptions
from billing.month_close
left join completed using (run_id)
left join period using (month)
left join invoice using (month)
left join exception using (month)
where month_close.state = 'closed' and run_id > (select event_id from outbox.retained) and (
    coalesce(billed, 0) <> coalesce(invoices, 0)
    or (figures ->> 'invoices')::bigint is distinct from coalesce(invoices, 0)
    or (figures ->> 'lines')::bigint is distinct from coalesce(lines, 0)
    or (figures ->> 'empty')::bigint is distinct from coalesce(empty, 0)
    or (figures ->> 'exceptions')::bigint is distinct from coalesce(exceptions, 0)
    or (
        select coalesce(sum((sum ->> 'minor')::numeric), 0)
        from jsonb_array_elements(figures -> 'invoiced') as sum
    ) is distinct from coalesce(total_minor, 0)
)

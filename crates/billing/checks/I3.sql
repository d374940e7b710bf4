-- I3: a series' numbers run from 1 without a gap, and its counter stands after the last
select series, invoices, numbers, first, last, next_number
from (
    select series, count(*) as invoices, count(distinct number) as numbers,
        min(number) as first, max(number) as last
    from billing.invoice
    group by series
) as used
full join billing.number_series using (series)
where next_number is distinct from coalesce(last, 0) + 1
    or (last is not null and (first <> 1 or last <> invoices or numbers <> invoices))

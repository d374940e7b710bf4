-- R1: at rest, the collection report's figures are those of the invoices
select month, currency, kept, counted
from (
    select month, currency, array[
        sum(invoices), sum(zero), sum(paid), sum(open), sum(lines), sum(invoiced_minor)
    ] as kept
    from billing.collection_figure
    group by month, currency
) as figure
full join (
    select month, currency, array[
        count(*), count(*) filter (where total_minor = 0), count(*) filter (where state = 'paid'),
        count(*) filter (where state = 'finalized'), sum(lines), sum(total_minor)
    ]::numeric[] as counted
    from billing.invoice
    group by month, currency
) as invoice using (month, currency)
where kept is distinct from counted

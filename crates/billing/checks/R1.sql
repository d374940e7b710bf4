-- R1: at rest, the collection report's figures are those of the invoices and payments
select month, currency, kept, counted
from (
    select month, currency, array[
        sum(invoices), sum(zero), sum(paid), sum(lines), sum(invoiced_minor), sum(credit_minor),
        sum(collected_minor)
    ] as kept
    from billing.collection_figure
    group by month, currency
) as figure
full join (
    select month, currency, array[
        count(*), count(*) filter (where total_minor = 0), count(*) filter (where state = 'paid'),
        sum(lines), sum(total_minor), sum(credit_minor), sum(coalesce(captured_minor, 0))
    ]::numeric[] as counted
    from billing.invoice
    left join (
        select invoice_id, sum(captured_minor) as captured_minor
        from billing.payment
        where state = 'succeeded'
        group by invoice_id
    ) as payment using (invoice_id)
    group by month, currency
) as invoice using (month, currency)
where kept is distinct from counted

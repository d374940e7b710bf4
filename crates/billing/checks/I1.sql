-- I1: an invoice's total is the sum of its lines and the tax
select invoice_id, number, lines, counted, subtotal_minor, summed, tax_minor, total_minor
from billing.invoice
left join (
    select invoice_id, count(*) as counted, sum(amount_minor) as summed
    from billing.line
    group by invoice_id
) as line using (invoice_id)
where subtotal_minor is distinct from coalesce(summed, 0)
    or total_minor is distinct from coalesce(summed, 0) + tax_minor
    or lines is distinct from coalesce(counted, 0)

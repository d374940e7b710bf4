-- I8: what is settled on an invoice is what payments and credit settled, and never above its total
select invoice_id, number, total_minor, settled_minor, paid_minor, credited_minor
from billing.invoice
left join (
    select invoice_id, sum(applied_minor) as paid_minor
    from billing.payment
    where state = 'succeeded'
    group by invoice_id
) as payment using (invoice_id)
left join (
    select invoice_id, sum(amount_minor) as credited_minor
    from billing.credit_use
    group by invoice_id
) as credit_use using (invoice_id)
where settled_minor <> coalesce(paid_minor, 0) + coalesce(credited_minor, 0)
    or settled_minor > greatest(total_minor, 0)

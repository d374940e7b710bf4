-- L4: each invoice is posted once, its total between the right books, and a zero total never
select invoice_id, number, total_minor, transfers
from (
    select invoice_id, number, total_minor, count(source_id) as transfers,
        bool_and(
            amount_minor = abs(total_minor)
            and transfer.currency = invoice.currency
            and transfer.account_id = invoice.account_id
            and (debit, credit) = (
                case when total_minor > 0 then 'receivable' else 'revenue' end,
                case when total_minor > 0 then 'revenue' else 'customer_credit' end
            )
        ) as is_right
    from billing.invoice
    left join billing.transfer on source_kind = 'invoice' and source_id = invoice_id
    group by invoice_id, number, total_minor
) as posted
where transfers <> (total_minor <> 0)::int or (transfers = 1 and is_right is not true)

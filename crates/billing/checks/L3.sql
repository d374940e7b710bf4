-- L3: each running balance is the sum of the transfers in its book
select account_id, book, currency, moved, balance, balances
from (
    select account_id, book, currency, sum(moves) as moved
    from (
        select account_id, debit as book, currency,
            case debit when 'receivable' then amount_minor else -amount_minor end as moves
        from billing.transfer
        where debit in ('receivable', 'customer_credit')
        union all
        select account_id, credit, currency,
            case credit when 'receivable' then -amount_minor else amount_minor end
        from billing.transfer
        where credit in ('receivable', 'customer_credit')
    ) as side
    group by account_id, book, currency
) as transfers
full join (
    select account_id, book, currency, sum(amount_minor) as balance, count(*) as balances
    from billing.balance
    group by account_id, book, currency
) as kept using (account_id, book, currency)
where moved is distinct from balance or balances is distinct from 1

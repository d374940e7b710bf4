-- L7: each credit and each use of credit is one transfer of the same amount
select kind, id, amount_minor, moved
from (
    select 'credit' as kind, credit_id as id, amount_minor from billing.credit
    union all
    select 'credit_use', credit_use_id, amount_minor from billing.credit_use
) as credit
left join (
    select source_kind as kind, source_id as id, sum(amount_minor) as moved
    from billing.transfer
    where source_kind in ('credit', 'credit_use')
    group by source_kind, source_id
) as transfer using (kind, id)
where moved is distinct from amount_minor

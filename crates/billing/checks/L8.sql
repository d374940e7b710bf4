-- L8: each refund that succeeded moved its amount, once, and no other moved anything
select refund_id, state, amount_minor, credit_minor, given, from_credit
from billing.refund
left join (
    select source_id as refund_id,
        sum(amount_minor) filter (where source_kind = 'refund') as given,
        sum(amount_minor) filter (where source_kind = 'refund_credit') as from_credit
    from billing.transfer
    where source_kind in ('refund', 'refund_credit')
    group by source_id
) as moved using (refund_id)
where coalesce(from_credit, 0) <> coalesce(credit_minor, 0)
    or coalesce(given, 0)
        <> case state when 'succeeded' then amount_minor - credit_minor else 0 end

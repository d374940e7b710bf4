-- L5: each payment that succeeded moved what it captured, once, and no other moved anything
select payment_id, state, captured_minor, applied_minor, applied, excess
from billing.payment
left join (
    select source_id as payment_id, sum(amount_minor) as applied
    from billing.transfer
    where source_kind = 'payment'
    group by source_id
) as to_invoice using (payment_id)
left join (
    select source_id as payment_id, sum(amount_minor) as excess
    from billing.transfer
    where source_kind = 'payment_excess'
    group by source_id
) as to_credit using (payment_id)
where coalesce(applied, 0) <> coalesce(applied_minor, 0)
    or coalesce(excess, 0) <> coalesce(captured_minor - applied_minor, 0)
    or (state <> 'succeeded' and num_nonnulls(applied, excess) > 0)

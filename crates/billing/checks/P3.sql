-- P3: at rest, each payment and refund whose outcome is unknown is planned to be asked for
select kind, id, account_id, sent_at, look_ups
from (
    select 'payment' as kind, payment_id as id, account_id, sent_at, look_ups
    from billing.payment
    where state = 'unknown'
    union all
    select 'refund', refund_id, account_id, sent_at, look_ups
    from billing.refund
    where state = 'unknown'
) as open
where not exists (
        select from outbox.timer
        where topic = kind || '.unresolved' and key = account_id
            and payload ->> (kind || '_id') = id::text
    )
    and not exists (
        select from outbox.delivery where delivery.key = account_id and delivery.state <> 'dead'
    )

-- P3: at rest, each payment whose outcome is unknown is planned to be asked for
select payment_id, state, sent_at, look_ups
from billing.payment
where state = 'unknown'
    and not exists (
        select from outbox.timer
        where topic = 'payment.unresolved' and key = account_id
            and payload ->> 'payment_id' = payment_id::text
    )
    and not exists (
        select from outbox.delivery where delivery.key = account_id and delivery.state <> 'dead'
    )

-- P13: no two payments or refunds share a key, or one movement of their gateway
select 'key of a payment' as what, payment_id::text as name, count(*) as owners
from billing.payment
group by payment_id
having count(*) > 1
union all
select 'charge at ' || gateway, gateway_ref, count(*)
from billing.payment
where gateway_ref is not null and kind = 'card'
group by gateway, gateway_ref
having count(*) > 1
union all
select 'key of a refund', refund_id::text, count(*)
from billing.refund
group by refund_id
having count(*) > 1
union all
select 'refund at ' || gateway, refund.gateway_ref, count(*)
from billing.refund
join billing.payment using (payment_id)
where refund.gateway_ref is not null
group by gateway, refund.gateway_ref
having count(*) > 1

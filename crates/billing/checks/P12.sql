-- P12: each webhook of a gateway was taken in once, and told of a payment of that gateway alone
select gateway, webhook_id, count(*) as taken
from billing.gateway_webhook
group by gateway, webhook_id
having count(*) > 1
union all
select gateway_webhook.gateway, webhook_id, 1
from billing.gateway_webhook
left join billing.payment using (payment_id)
where outcome = 'applied' and payment.gateway is distinct from gateway_webhook.gateway

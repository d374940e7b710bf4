-- P1: no invoice has two payments under way
select invoice_id, count(*) as open
from billing.payment
where state in ('created', 'sent', 'unknown', 'manual')
group by invoice_id
having count(*) > 1

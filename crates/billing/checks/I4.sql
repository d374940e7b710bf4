-- I4: a period has one invoice of each kind, voided ones aside
select account_id, period_seq, kind, count(*) as invoices
from billing.invoice
where state <> 'void'
group by account_id, period_seq, kind
having count(*) > 1

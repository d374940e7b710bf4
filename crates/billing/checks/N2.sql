-- N2: no customer was told of the same thing twice, and who was told had an address
select kind, cause, count(*) as notices
from billing.notice
group by kind, cause
having count(*) > 1
union all
select kind, cause, 1
from billing.notice
where state = 'sent' and (recipient is null or sent_at is null)

-- H1: an account is held as delinquent if and only if an unpaid invoice led to it
select account_id, hold_id, invoice_id, dunning.state
from (
    select account_id, hold_id
    from billing.hold
    where reason = 'delinquent' and released_at is null
) as hold
full join (
    select dunning.account_id, invoice_id, dunning.state
    from billing.dunning
    join billing.invoice using (invoice_id)
    where dunning.state = 'held' and invoice.state = 'finalized'
) as dunning using (account_id)
where hold_id is null or invoice_id is null

-- I2: an invoice is final, with number and instant, and has an instant of payment only if paid
select invoice_id, series, number, state, finalized_at, paid_at
from billing.invoice
where number is null or number < 1 or series is null or finalized_at is null
    or state is null or state not in ('finalized', 'paid', 'void', 'written_off')
    or (state = 'paid') <> (paid_at is not null)

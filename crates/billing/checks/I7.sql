-- I7: a line's amount is its exact amount, rounded once to its currency's minor unit
select invoice_id, line_no, currency, exact, amount_minor
from billing.line
join billing.invoice using (invoice_id)
where amount_minor is distinct from round(exact * case
    when currency in (
        'BIF', 'CLP', 'DJF', 'GNF', 'ISK', 'JPY', 'KMF', 'KRW', 'PYG', 'RWF', 'UGX', 'UYI',
        'VND', 'VUV', 'XAF', 'XOF', 'XPF'
    ) then 1
    when currency in ('BHD', 'IQD', 'JOD', 'KWD', 'LYD', 'OMR', 'TND') then 1000
    when currency in ('CLF', 'UYW') then 10000
    else 100
end)

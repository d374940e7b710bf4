-- I5: nothing frozen on an invoice or its lines was changed: the digest is what it was
select invoice_id, number
from billing.invoice
left join (
    select invoice_id, string_agg(
        E'\n' || concat_ws(
            '|', line_no, price_id,
            octet_length(price_code) || ':' || price_code,
            octet_length(description) || ':' || description,
            octet_length(model) || ':' || model,
            octet_length(unit) || ':' || unit,
            coalesce(trim_scale(unit_price)::text, '-'),
            to_char(usage_month, 'YYYY-MM-DD'),
            trim_scale(quantity), trim_scale(exact), amount_minor, usage_events, usage_digest,
            -- Only lines of subscriptions have what follows.
            subscription_id,
            (extract(epoch from served_from) * 1000000)::bigint,
            (extract(epoch from served_until) * 1000000)::bigint,
            trim_scale(monthly_price), cap_hours
        ),
        '' order by line_no
    ) as text
    from billing.line
    group by invoice_id
) as line using (invoice_id)
where digest is distinct from sha256(convert_to(
    concat_ws(
        '|', 'invoice 1', invoice_id, account_id, period_seq, kind, run_id, series, number,
        octet_length(external_id) || ':' || external_id,
        octet_length(customer_name) || ':' || customer_name,
        octet_length(zone) || ':' || zone,
        to_char(month, 'YYYY-MM-DD'),
        (extract(epoch from start_at) * 1000000)::bigint,
        (extract(epoch from end_at) * 1000000)::bigint,
        (extract(epoch from as_of) * 1000000)::bigint,
        currency, lines, subtotal_minor, tax_minor, total_minor, credit_minor,
        (extract(epoch from finalized_at) * 1000000)::bigint
    ) || coalesce(line.text, ''),
    'UTF8'
))

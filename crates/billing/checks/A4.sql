-- A4: what keeps history from being changed, and changes from being kept silent, is in place
select relation, guard, coalesce(tgenabled::text, 'missing') as enabled
from (
    values ('account', 'account_kept'), ('account', 'account_announced'),
        ('credit', 'credit_announced'), ('hold', 'hold_announced'), ('hold', 'hold_released'),
        ('invoice', 'invoice_announced'), ('invoice', 'invoice_frozen'),
        ('invoice', 'invoice_kept'), ('invoice', 'invoice_paid'), ('invoice', 'invoice_stays'),
        ('line', 'line_frozen'), ('line', 'line_stays'), ('month_close', 'month_close_kept'),
        ('number_series', 'number_series_kept'), ('payment', 'payment_declined'),
        ('payment', 'payment_fixed'), ('payment', 'payment_kept'), ('payment', 'payment_moves'),
        ('payment', 'payment_succeeded'), ('payment_method', 'payment_method_announced'),
        ('payment_method', 'payment_method_kept'), ('payment_method', 'payment_method_removed'),
        ('period', 'period_kept'), ('price', 'price_announced'), ('price', 'price_kept'),
        ('refund', 'refund_fixed'), ('refund', 'refund_kept'), ('refund', 'refund_requested'),
        ('refund', 'refund_succeeded'), ('subscription', 'subscription_announced'),
        ('subscription', 'subscription_end_told'), ('subscription', 'subscription_ended'),
        ('subscription', 'subscription_kept'), ('transfer', 'transfer_kept'),
        ('transfer', 'transfer_stays')
) as wanted (relation, guard)
left join pg_trigger
    on tgrelid = to_regclass('billing.' || relation) and tgname = guard
where tgenabled is null or tgenabled not in ('O', 'A')

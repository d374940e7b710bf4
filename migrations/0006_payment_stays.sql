-- A payment that surely never left, because no connection came to be or the gateway said that it
-- did nothing, may be as if it had not departed: at a gateway without lasting keys that is the one
-- case in which it may be sent after it was marked as sent.
drop trigger payment_moves on billing.payment;
create trigger payment_moves before update of state on billing.payment for each row
    when (old.state <> new.state and (old.state, new.state) not in (
        ('created', 'sent'), ('created', 'cancelled'), ('sent', 'created'),
        ('sent', 'succeeded'), ('sent', 'declined'), ('sent', 'unknown'), ('sent', 'cancelled'),
        ('unknown', 'succeeded'), ('unknown', 'declined'), ('unknown', 'cancelled'),
        ('unknown', 'manual'), ('sent', 'manual'),
        ('manual', 'succeeded'), ('manual', 'declined'), ('manual', 'cancelled')
    ))
    execute function billing.refuse_payment_move();

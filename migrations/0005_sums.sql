-- Why: an invoice that was paid was written into all its indexes anew, because two of them spoke of
-- what a payment changes: the transaction that announces it, and its state. The engine compares
-- changes with events by sums now and needs no index; the state leaves the other one. Where a row
-- has room beside it, an update then touches the table alone.

-- A void invoice frees its period.
alter table billing.invoice
    add column voided_at timestamptz,
    add constraint invoice_void_has_instant check ((state = 'void') = (voided_at is not null));
create unique index invoice_once on billing.invoice (account_id, period_seq, kind)
    where voided_at is null;
drop index billing.invoice_once_per_period;
alter index billing.invoice_once rename to invoice_once_per_period;
-- Each is written twice, as a rule soon after each other: the second finds room beside the first.
alter table billing.invoice set (fillfactor = 50);
alter table billing.balance set (fillfactor = 50);

drop trigger account_announced on billing.account;
create constraint trigger account_announced after insert on billing.account
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('account.created', 'announced_by', 'announced_xid');
drop index billing.account_announced;

drop trigger price_announced on billing.price;
create constraint trigger price_announced after insert on billing.price
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('price.created', 'announced_by', 'announced_xid');
drop index billing.price_announced;

drop trigger subscription_announced on billing.subscription;
create constraint trigger subscription_announced after insert on billing.subscription
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('subscription.started', 'announced_by', 'announced_xid');
drop index billing.subscription_announced;
drop trigger subscription_ended on billing.subscription;
create constraint trigger subscription_ended after update on billing.subscription
    deferrable initially deferred for each row
    when (
        case when old.end_at is distinct from new.end_at
        then outbox.is_first_change(new.tableoid, 'ended_event', new.ended_event) else false end
    )
    execute function outbox.require_event('subscription.ended', 'ended_event', 'ended_xid');
drop index billing.subscription_ended;

drop trigger invoice_announced on billing.invoice;
create constraint trigger invoice_announced after insert on billing.invoice
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('invoice.finalized', 'announced_by', 'announced_xid');
drop index billing.invoice_announced;
drop trigger invoice_paid on billing.invoice;
create constraint trigger invoice_paid after update on billing.invoice
    deferrable initially deferred for each row
    when (
        case when old.state is distinct from new.state and new.state = 'paid'
        then outbox.is_first_change(new.tableoid, 'paid_event', new.paid_event) else false end
    )
    execute function outbox.require_event('invoice.paid', 'paid_event', 'paid_xid');
drop index billing.invoice_paid_announced;

drop trigger payment_method_announced on billing.payment_method;
create constraint trigger payment_method_announced after insert on billing.payment_method
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('payment_method.added', 'announced_by', 'announced_xid');
drop index billing.payment_method_announced;
drop trigger payment_method_removed on billing.payment_method;
create constraint trigger payment_method_removed after update on billing.payment_method
    deferrable initially deferred for each row
    when (
        case when old.removed_at is null and new.removed_at is not null
        then outbox.is_first_change(new.tableoid, 'removed_event', new.removed_event) else false end
    )
    execute function outbox.require_event('payment_method.removed', 'removed_event', 'removed_xid');
drop index billing.payment_method_removal;

drop trigger payment_succeeded on billing.payment;
create constraint trigger payment_succeeded after insert or update on billing.payment
    deferrable initially deferred for each row
    when (
        case when new.state = 'succeeded'
        then outbox.is_first_change(new.tableoid, 'succeeded_event', new.succeeded_event)
        else false end
    )
    execute function outbox.require_event('payment.succeeded', 'succeeded_event', 'succeeded_xid');
drop index billing.payment_succeeded;
drop trigger payment_declined on billing.payment;
create constraint trigger payment_declined after update on billing.payment
    deferrable initially deferred for each row
    when (
        case when new.state = 'declined' and old.state <> 'declined'
        then outbox.is_first_change(new.tableoid, 'declined_event', new.declined_event)
        else false end
    )
    execute function outbox.require_event('payment.declined', 'declined_event', 'declined_xid');
drop index billing.payment_declined;

drop trigger credit_announced on billing.credit;
create constraint trigger credit_announced after insert on billing.credit
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('credit.granted', 'announced_by', 'announced_xid');
drop index billing.credit_announced;

drop trigger hold_announced on billing.hold;
create constraint trigger hold_announced after insert on billing.hold
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by', new.announced_by))
    execute function outbox.require_event('hold.placed', 'announced_by', 'announced_xid');
drop index billing.hold_announced;
drop trigger hold_released on billing.hold;
create constraint trigger hold_released after update on billing.hold
    deferrable initially deferred for each row
    when (
        case when old.released_at is null and new.released_at is not null
        then outbox.is_first_change(new.tableoid, 'released_event', new.released_event)
        else false end
    )
    execute function outbox.require_event('hold.released', 'released_event', 'released_xid');
drop index billing.hold_released;

drop trigger refund_requested on billing.refund;
create constraint trigger refund_requested after insert on billing.refund
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'requested_event', new.requested_event))
    execute function outbox.require_event('refund.requested', 'requested_event', 'requested_xid');
drop index billing.refund_requested;
drop trigger refund_succeeded on billing.refund;
create constraint trigger refund_succeeded after insert or update on billing.refund
    deferrable initially deferred for each row
    when (
        case when new.state = 'succeeded'
        then outbox.is_first_change(new.tableoid, 'succeeded_event', new.succeeded_event)
        else false end
    )
    execute function outbox.require_event('refund.succeeded', 'succeeded_event', 'succeeded_xid');
drop index billing.refund_succeeded;

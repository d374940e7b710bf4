-- Why: a close is over for finance when all that its invoices set off has been handled: documents,
-- charges, mails. A batch of the log tells that once, and these say which batch and when.

alter table billing.month_close
    add column batch_id   uuid,
    add column settled_at timestamptz,
    add constraint month_close_settled_is_closed check (settled_at is null or state = 'closed'),
    add constraint month_close_settled_by_batch check (settled_at is null or batch_id is not null);

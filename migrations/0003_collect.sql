-- Why: what stands around a payment: credit that is used before it, dunning and holds where it
-- fails, notices that tell of it.

-- Money that a customer has in advance without having paid it.
create table billing.credit (
    credit_id     uuid        primary key,
    account_id    uuid        not null,
    currency      text        not null,
    amount_minor  bigint      not null,
    reason        text        not null,
    granted_at    timestamptz not null,
    announced_by  uuid        not null,
    announced_xid xid8        not null default pg_current_xact_id(),
    constraint credit_is_something check (amount_minor > 0)
);
create index credit_of_account on billing.credit (account_id);
create index credit_announced on billing.credit (announced_xid);
create constraint trigger credit_announced after insert on billing.credit
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event('credit.granted', 'announced_by', 'announced_xid');

-- Credit that paid a part of an invoice, or all of it.
create table billing.credit_use (
    credit_use_id uuid        primary key,
    account_id    uuid        not null references billing.account,
    invoice_id    uuid        not null references billing.invoice,
    currency      text        not null,
    amount_minor  bigint      not null,
    used_at       timestamptz not null,
    constraint credit_use_is_something check (amount_minor > 0)
);
create index credit_use_of_invoice on billing.credit_use (invoice_id);

-- An unpaid invoice on its way through the rungs of a policy.
create table billing.dunning (
    invoice_id uuid        primary key references billing.invoice,
    account_id uuid        not null references billing.account,
    -- Name and version of the rules under which it began.
    policy     text        not null,
    -- How many retries were planned so far.
    rung       int         not null,
    state      text        not null,
    -- The planned event, while there is one.
    timer      uuid,
    opened_at  timestamptz not null,
    closed_at  timestamptz,
    constraint dunning_state_known    check (state in ('retrying', 'held', 'exhausted', 'closed')),
    constraint dunning_closed_instant check ((state = 'closed') = (closed_at is not null))
);
create index dunning_open on billing.dunning (account_id) where state <> 'closed';

-- Why an account gets no service. An account is held while any of its holds is open.
create table billing.hold (
    hold_id        uuid        primary key,
    account_id     uuid        not null references billing.account,
    reason         text        not null,
    -- The payment or the person's words that led to it.
    cause          text        not null,
    placed_at      timestamptz not null,
    released_at    timestamptz,
    release_cause  text,
    announced_by   uuid        not null,
    announced_xid  xid8        not null default pg_current_xact_id(),
    released_event uuid,
    released_xid   xid8,
    constraint hold_reason_known      check (
        reason in ('delinquent', 'dispute', 'fraud', 'manual')
    ),
    constraint hold_release_announced check (
        num_nulls(released_at, release_cause, released_event, released_xid) in (0, 4)
    )
);
create unique index hold_open_once on billing.hold (account_id, reason) where released_at is null;
create index hold_announced on billing.hold (announced_xid);
create index hold_released on billing.hold (released_xid) where released_xid is not null;
create constraint trigger hold_announced after insert on billing.hold
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event('hold.placed', 'announced_by', 'announced_xid');
create constraint trigger hold_released after update on billing.hold
    deferrable initially deferred for each row
    when (
        case when old.released_at is null and new.released_at is not null
        then outbox.is_first_change(new.tableoid, 'released_event') else false end
    )
    execute function outbox.require_event('hold.released', 'released_event', 'released_xid');

-- One notice per account, kind and cause: the intent row of the consumer that sends.
create table billing.notice (
    notice_id   uuid        primary key,
    -- Both are read before, and never deleted; whether they are there is checked (F1).
    account_id  uuid        not null,
    kind        text        not null,
    -- The invoice, payment or hold that it tells of.
    cause       uuid        not null,
    invoice_id  uuid,
    state       text        not null,
    recipient   text,
    subject     text        not null,
    message_id  text        not null,
    -- Why it was not sent.
    suppressed  text,
    intended_at timestamptz not null default clock_timestamp(),
    sent_at     timestamptz,
    constraint notice_once             unique (account_id, kind, cause),
    constraint notice_kind_known       check (
        kind in ('invoice', 'receipt', 'payment_failed', 'hold', 'release')
    ),
    constraint notice_state_known      check (state in ('intended', 'sent', 'suppressed')),
    constraint notice_sent_instant     check ((state = 'sent') = (sent_at is not null)),
    constraint notice_suppressed_why   check ((state = 'suppressed') = (suppressed is not null)),
    constraint notice_sent_to_somebody check (state <> 'sent' or recipient is not null)
)
-- Each row is written twice, soon after each other.
with (fillfactor = 50);

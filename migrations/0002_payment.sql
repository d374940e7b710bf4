-- Why: money comes in for final invoices, and goes back. Each call to the outside has an intent row
-- that is written before it and says afterwards what came of it; money moves only together with its
-- transfer and its event.

alter table billing.account
    -- Where notices go; none are sent without it.
    add column email text,
    -- Whether an account is held follows from its open holds.
    drop constraint account_status_known,
    add constraint account_status_known check (status in ('active', 'closed'));

alter table billing.invoice
    -- Frozen: credit that was there when the invoice was finalized, and was used for it.
    add column credit_minor  bigint not null default 0,
    -- What payments and credit have settled by now.
    add column settled_minor bigint not null default 0,
    add column paid_event    uuid,
    add column paid_xid      xid8,
    add constraint invoice_credit_in_range  check (
        credit_minor between 0 and greatest(total_minor, 0)
    ),
    add constraint invoice_settled_in_range check (
        settled_minor between credit_minor and greatest(total_minor, 0)
    ),
    add constraint invoice_paid_if_settled  check (
        state not in ('finalized', 'paid')
        or (state = 'paid') = (settled_minor = greatest(total_minor, 0))
    ),
    -- What was settled when it was finalized is announced with it, what is paid later by itself.
    add constraint invoice_paid_announced   check (
        state <> 'paid' or paid_at = finalized_at
        or (paid_event is not null and paid_xid is not null)
    );
create index invoice_by_month on billing.invoice (month, series, number);
create index invoice_paid_announced on billing.invoice (paid_xid) where paid_xid is not null;
create constraint trigger invoice_paid after update on billing.invoice
    deferrable initially deferred for each row
    when (
        case when old.state is distinct from new.state and new.state = 'paid'
        then outbox.is_first_change(new.tableoid, 'paid_event') else false end
    )
    execute function outbox.require_event('invoice.paid', 'paid_event', 'paid_xid');

drop trigger invoice_frozen on billing.invoice;
create trigger invoice_frozen before update on billing.invoice for each row
    when ((old.invoice_id, old.account_id, old.period_seq, old.kind, old.run_id, old.series,
           old.number, old.external_id, old.customer_name, old.zone, old.month, old.start_at,
           old.end_at, old.as_of, old.currency, old.lines, old.subtotal_minor, old.tax_minor,
           old.total_minor, old.credit_minor, old.digest, old.finalized_at, old.announced_by,
           old.announced_xid)
          is distinct from
          (new.invoice_id, new.account_id, new.period_seq, new.kind, new.run_id, new.series,
           new.number, new.external_id, new.customer_name, new.zone, new.month, new.start_at,
           new.end_at, new.as_of, new.currency, new.lines, new.subtotal_minor, new.tax_minor,
           new.total_minor, new.credit_minor, new.digest, new.finalized_at, new.announced_by,
           new.announced_xid))
    execute function billing.refuse_change();

-- Counted as it happens: what credit paid when invoices were finalized, what came in since. What is
-- open follows.
alter table billing.collection_figure
    drop column open,
    add column credit_minor    bigint not null default 0,
    add column collected_minor bigint not null default 0;

-- Two books more: money that came past the gateways, and what was given away.
alter table billing.transfer drop constraint transfer_books_known;
alter table billing.transfer add constraint transfer_books_known check (
    array[debit, credit] <@ array[
        'receivable', 'customer_credit', 'revenue', 'tax', 'cash', 'bank', 'allowance',
        'write_off', 'fx'
    ]
);

-- What a gateway knows a card by. Digits that could be a card's number are refused: whoever keeps
-- one of those is in the scope of rules that this product stays out of.
create table billing.payment_method (
    payment_method_id uuid        primary key,
    account_id        uuid        not null,
    gateway           text        not null,
    token             text        not null,
    brand             text        not null,
    last_four         text        not null,
    added_at          timestamptz not null,
    removed_at        timestamptz,
    announced_by      uuid        not null,
    announced_xid     xid8        not null default pg_current_xact_id(),
    removed_event     uuid,
    removed_xid       xid8,
    constraint payment_method_gateway_named     check (gateway <> ''),
    constraint payment_method_token_named       check (token <> ''),
    constraint payment_method_last_four_digits  check (last_four ~ '^[0-9]{4}$'),
    constraint payment_method_is_no_card_number check (
        concat_ws(' | ', token, brand, gateway) !~ '([0-9][ ._-]*){12}'
    ),
    constraint payment_method_removal_announced check (
        num_nulls(removed_at, removed_event, removed_xid) in (0, 3)
    )
);
create unique index payment_method_once
    on billing.payment_method (account_id, gateway, token) where removed_at is null;
create index payment_method_announced on billing.payment_method (announced_xid);
create index payment_method_removal on billing.payment_method (removed_xid)
    where removed_xid is not null;
create constraint trigger payment_method_announced after insert on billing.payment_method
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event(
        'payment_method.added', 'announced_by', 'announced_xid'
    );
create constraint trigger payment_method_removed after update on billing.payment_method
    deferrable initially deferred for each row
    when (
        case when old.removed_at is null and new.removed_at is not null
        then outbox.is_first_change(new.tableoid, 'removed_event') else false end
    )
    execute function outbox.require_event(
        'payment_method.removed', 'removed_event', 'removed_xid'
    );

-- An attempt to get money, or money that came by hand. Its id is our reference at the gateway and
-- the idempotency key of every call for it.
create table billing.payment (
    payment_id        uuid        primary key,
    -- Whoever writes it holds the account's lock and has read the invoice and the payment method;
    -- none of them is ever deleted. A foreign key would look each up once more, and lock it (F1).
    account_id        uuid        not null,
    -- Null for money that came without saying what for.
    invoice_id        uuid,
    kind              text        not null,
    -- The how manieth attempt for the invoice.
    attempt           int         not null,
    payment_method_id uuid,
    gateway           text,
    currency          text        not null,
    -- What was asked for; it never changes, and neither does the key.
    amount_minor      bigint      not null,
    state             text        not null,
    -- The event that led to the attempt.
    cause             uuid,
    created_at        timestamptz not null,
    sent_at           timestamptz,
    -- Until then the same key may be sent again; afterwards the gateway may have forgotten it.
    deadline          timestamptz,
    settled_at        timestamptz,
    captured_minor    bigint,
    -- The part of it that settled the invoice; the rest went to the account's credit.
    applied_minor     bigint,
    gateway_ref       text,
    decline_code      text,
    -- Whether a later attempt with the same card may succeed.
    decline_is_soft   boolean,
    -- The last error of a call, or what a person wrote on money that came by hand.
    note              text,
    look_ups          int         not null default 0,
    succeeded_event   uuid,
    succeeded_xid     xid8,
    declined_event    uuid,
    declined_xid      xid8,
    constraint payment_kind_known      check (kind in ('card', 'by_hand')),
    constraint payment_state_known     check (
        state in ('created', 'sent', 'unknown', 'succeeded', 'declined', 'cancelled', 'manual')
    ),
    constraint payment_asks_something  check (amount_minor > 0),
    constraint payment_card_is_whole   check (
        kind <> 'card' or num_nulls(invoice_id, payment_method_id, gateway) = 0
    ),
    constraint payment_by_hand_is_done check (kind <> 'by_hand' or state = 'succeeded'),
    constraint payment_sent_until      check (
        state in ('created', 'cancelled') or kind = 'by_hand' or num_nulls(sent_at, deadline) = 0
    ),
    constraint payment_final_at        check (
        (state in ('succeeded', 'declined', 'cancelled')) = (settled_at is not null)
    ),
    constraint payment_money_is_known  check (
        (state = 'succeeded')
        = (captured_minor is not null and applied_minor is not null)
    ),
    constraint payment_money_in_range  check (
        captured_minor > 0 and applied_minor between 0 and captured_minor
    ),
    constraint payment_decline_said    check ((state = 'declined') = (decline_code is not null)),
    constraint payment_success_said    check (
        num_nulls(succeeded_event, succeeded_xid)
        = case state when 'succeeded' then 0 else 2 end
    ),
    constraint payment_refusal_said    check (
        num_nulls(declined_event, declined_xid) = case state when 'declined' then 0 else 2 end
    )
)
-- Each row is written three times within a moment.
with (fillfactor = 50);
-- By a column that stays as it is when an attempt is sent: the other indexes need not be told.
create unique index payment_one_open on billing.payment (invoice_id) where settled_at is null;
create unique index payment_nth on billing.payment (invoice_id, attempt);
create index payment_of_account on billing.payment (account_id);
create index payment_succeeded on billing.payment (succeeded_xid) where succeeded_xid is not null;
create index payment_declined on billing.payment (declined_xid) where declined_xid is not null;
create constraint trigger payment_succeeded after insert or update on billing.payment
    deferrable initially deferred for each row
    when (
        case when new.state = 'succeeded'
        then outbox.is_first_change(new.tableoid, 'succeeded_event') else false end
    )
    execute function outbox.require_event(
        'payment.succeeded', 'succeeded_event', 'succeeded_xid'
    );
create constraint trigger payment_declined after update on billing.payment
    deferrable initially deferred for each row
    when (
        case when new.state = 'declined' and old.state <> 'declined'
        then outbox.is_first_change(new.tableoid, 'declined_event') else false end
    )
    execute function outbox.require_event(
        'payment.declined', 'declined_event', 'declined_xid'
    );

create trigger payment_method_kept before delete or truncate on billing.payment_method
    for each statement execute function billing.refuse_removal();

-- Nothing leaves a final state; what a gateway said is never unsaid.
create function billing.refuse_payment_move() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'a payment does not go from % to %', old.state, new.state
        using errcode = 'restrict_violation',
              hint = 'Money goes back by a refund; a new try is a new payment.';
end $$;
create trigger payment_moves before update of state on billing.payment for each row
    when (old.state <> new.state and (old.state, new.state) not in (
        ('created', 'sent'), ('created', 'cancelled'),
        ('sent', 'succeeded'), ('sent', 'declined'), ('sent', 'unknown'), ('sent', 'cancelled'),
        ('unknown', 'succeeded'), ('unknown', 'declined'), ('unknown', 'cancelled'),
        ('unknown', 'manual'), ('sent', 'manual'),
        ('manual', 'succeeded'), ('manual', 'declined'), ('manual', 'cancelled')
    ))
    execute function billing.refuse_payment_move();
create trigger payment_fixed before update on billing.payment for each row
    when ((old.payment_id, old.account_id, old.invoice_id, old.kind, old.attempt,
           old.payment_method_id, old.gateway, old.currency, old.amount_minor, old.cause,
           old.created_at)
          is distinct from
          (new.payment_id, new.account_id, new.invoice_id, new.kind, new.attempt,
           new.payment_method_id, new.gateway, new.currency, new.amount_minor, new.cause,
           new.created_at)
          or (old.captured_minor is not null
              and (old.captured_minor, old.applied_minor)
                  is distinct from (new.captured_minor, new.applied_minor)))
    execute function billing.refuse_change();
create trigger payment_kept before delete on billing.payment
    for each row execute function billing.refuse_change();

-- What a gateway told us on its own, as it came. Kept before it is believed, applied once.
create table billing.gateway_webhook (
    gateway     text        not null,
    webhook_id  text        not null,
    body        bytea       not null,
    -- The payment it is about; null for a charge that we know nothing of.
    payment_id  uuid        references billing.payment,
    outcome     text        not null,
    received_at timestamptz not null default clock_timestamp(),
    primary key (gateway, webhook_id)
);


-- Money given back of one payment. Its id is our reference at the gateway and the idempotency key.
create table billing.refund (
    refund_id       uuid        primary key,
    payment_id      uuid        not null references billing.payment,
    account_id      uuid        not null references billing.account,
    currency        text        not null,
    amount_minor    bigint      not null,
    reason          text        not null,
    state           text        not null,
    created_at      timestamptz not null,
    sent_at         timestamptz,
    settled_at      timestamptz,
    -- What of it was the customer's credit; the rest was given away.
    credit_minor    bigint,
    gateway_ref     text,
    -- The last error of a call, or why the gateway gives nothing back.
    note            text,
    look_ups        int         not null default 0,
    requested_event uuid        not null,
    requested_xid   xid8        not null default pg_current_xact_id(),
    succeeded_event uuid,
    succeeded_xid   xid8,
    constraint refund_state_known     check (
        state in ('created', 'sent', 'unknown', 'succeeded', 'declined')
    ),
    constraint refund_is_something    check (amount_minor > 0),
    constraint refund_final_at        check (
        (state in ('succeeded', 'declined')) = (settled_at is not null)
    ),
    constraint refund_decline_said    check (state <> 'declined' or note is not null),
    constraint refund_credit_is_known check ((state = 'succeeded') = (credit_minor is not null)),
    constraint refund_credit_in_range check (credit_minor between 0 and amount_minor),
    constraint refund_success_said    check (
        num_nulls(succeeded_event, succeeded_xid) = case state when 'succeeded' then 0 else 2 end
    )
);
create index refund_of_payment on billing.refund (payment_id);
create index refund_requested on billing.refund (requested_xid);
create index refund_succeeded on billing.refund (succeeded_xid) where succeeded_xid is not null;
create constraint trigger refund_requested after insert on billing.refund
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'requested_event'))
    execute function outbox.require_event('refund.requested', 'requested_event', 'requested_xid');
create constraint trigger refund_succeeded after insert or update on billing.refund
    deferrable initially deferred for each row
    when (
        case when new.state = 'succeeded'
        then outbox.is_first_change(new.tableoid, 'succeeded_event') else false end
    )
    execute function outbox.require_event('refund.succeeded', 'succeeded_event', 'succeeded_xid');

create function billing.refuse_refund_change() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'a refund keeps what it is, and its end (% in state %)', lower(tg_op), old.state
        using errcode = 'restrict_violation',
              hint = 'What was given back is charged again by a new payment.';
end $$;
create trigger refund_fixed before update on billing.refund for each row
    when (old.state in ('succeeded', 'declined')
          or (old.refund_id, old.payment_id, old.account_id, old.currency, old.amount_minor,
              old.reason, old.created_at, old.requested_event, old.requested_xid)
             is distinct from
             (new.refund_id, new.payment_id, new.account_id, new.currency, new.amount_minor,
              new.reason, new.created_at, new.requested_event, new.requested_xid)
          or (old.state <> 'created' and new.state = 'created')
          or (old.state = 'unknown' and new.state = 'sent'))
    execute function billing.refuse_refund_change();
create trigger refund_kept before delete on billing.refund
    for each row execute function billing.refuse_refund_change();

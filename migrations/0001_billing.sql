-- Why: the first cut of the domain: from usage to final invoices, their ledger and their documents.
-- Money is in minor units of its currency (bigint); quantities and rates are decimals. A change
-- that must be announced cannot commit without its event (outbox.require_event).
--
-- What a close and an import write by the million refers to other rows without foreign keys, which
-- would cost more than the rows: whoever writes holds the account's lock and has read what it
-- refers to, nothing that is referred to can be deleted (billing.refuse_removal), and check F1
-- looks.

create table billing.account (
    account_id    uuid        primary key,
    external_id   text        not null unique,
    name          text        not null,
    currency      text        not null,
    zone          text        not null,
    status        text        not null default 'active',
    created_at    timestamptz not null,
    announced_by  uuid        not null,
    announced_xid xid8        not null default pg_current_xact_id(),
    constraint account_external_id_named check (external_id <> ''),
    constraint account_currency_is_iso   check (currency ~ '^[A-Z]{3}$'),
    constraint account_status_known      check (status in ('active', 'held', 'closed'))
);
create index account_announced on billing.account (announced_xid);
create constraint trigger account_announced after insert on billing.account
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event('account.created', 'announced_by', 'announced_xid');

create table billing.price (
    price_id      uuid        primary key,
    code          text        not null,
    model         text        not null,
    currency      text        not null,
    -- Per unit of `unit`, in major units of the currency; of a flat price, per month.
    unit_price    numeric(28, 12),
    -- What an hourly price costs at most in a month, and from how many hours on it costs just that.
    monthly_price numeric(28, 12),
    cap_hours     int,
    unit          text        not null,
    description   text        not null,
    created_at    timestamptz not null,
    announced_by  uuid        not null,
    announced_xid xid8        not null default pg_current_xact_id(),
    constraint price_model_known check (
        model in ('per_unit', 'pass_through', 'flat', 'hourly_capped')
    ),
    constraint price_rate_unless_passed_through check (
        (model = 'pass_through') = (unit_price is null)
    ),
    constraint price_cap_iff_hourly check (
        (model = 'hourly_capped') = (monthly_price is not null)
        and (model = 'hourly_capped') = (cap_hours is not null)
    ),
    constraint price_cap_is_reached  check (cap_hours > 0),
    constraint price_currency_is_iso check (currency ~ '^[A-Z]{3}$'),
    constraint price_stands_once unique nulls not distinct (
        code, model, currency, unit_price, monthly_price, cap_hours
    )
);
create index price_announced on billing.price (announced_xid);
create constraint trigger price_announced after insert on billing.price
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event('price.created', 'announced_by', 'announced_xid');

-- One row per month that was ever closed or is being closed.
create table billing.month_close (
    month      date        primary key,
    run_id     uuid        not null unique,
    as_of      timestamptz not null,
    state      text        not null,
    started_at timestamptz not null,
    closed_at  timestamptz,
    constraint month_close_starts_a_month     check (extract(day from month) = 1),
    constraint month_close_state_known        check (state in ('running', 'closed')),
    constraint month_close_closed_has_instant check ((state = 'closed') = (closed_at is not null))
);

-- The obligation to bill: an unclosed period that has ended is what a close works on. Periods tile:
-- each begins where the one before it ended. One function makes them, under the account's lock, and
-- check T1 looks; as constraints it took a second key and a third, a quarter of a close.
create table billing.period (
    account_id  uuid        not null,
    seq         int         not null,
    -- The local month that it covers, named by its first day.
    month       date        not null,
    start_at    timestamptz not null,
    end_at      timestamptz not null,
    zone        text        not null,
    state       text        not null default 'open',
    run_id      uuid,
    -- One that was opened after its month was closed waits for the next run. Not a volatile
    -- default: with one, COPY would insert row by row.
    opened_at   timestamptz not null default statement_timestamp(),
    primary key (account_id, seq),
    constraint period_not_empty     check (start_at < end_at),
    constraint period_state_known   check (state in ('open', 'billed', 'empty')),
    constraint period_closed_by_run check ((state = 'open') = (run_id is null))
);
create index period_open on billing.period (month, account_id) where state = 'open';

-- What an account has for as long as it has it: a plan, a server. The hours of a server that is
-- billed by the hour are counted from `start_at`.
create table billing.subscription (
    subscription_id uuid           primary key,
    account_id      uuid           not null,
    -- The customer's name for it: unique in the account, shown on the line.
    external_id     text           not null,
    price_id        uuid           not null,
    quantity        numeric(28,12) not null,
    start_at        timestamptz    not null,
    -- Not an instant of it any more.
    end_at          timestamptz,
    announced_by    uuid           not null,
    announced_xid   xid8           not null default pg_current_xact_id(),
    ended_event     uuid,
    ended_xid       xid8,
    constraint subscription_once           unique (account_id, external_id),
    constraint subscription_named          check (external_id <> ''),
    constraint subscription_of_something   check (quantity > 0),
    constraint subscription_lasts          check (start_at < end_at),
    constraint subscription_end_announced  check (num_nulls(ended_event, ended_xid) in (0, 2))
);
create index subscription_announced on billing.subscription (announced_xid);
create index subscription_ended on billing.subscription (ended_xid) where ended_xid is not null;
create constraint trigger subscription_announced after insert on billing.subscription
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event('subscription.started', 'announced_by', 'announced_xid');
-- An end is set with the transaction that announces it, or require_event would not look at the row.
create function billing.refuse_silent_end() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'the end of subscription % is not announced', old.external_id
        using errcode = 'check_violation', constraint = 'subscription_end_announced';
end $$;
create trigger subscription_end_told before update on billing.subscription for each row
    when (old.end_at is distinct from new.end_at
        and new.ended_xid is distinct from pg_current_xact_id())
    execute function billing.refuse_silent_end();
create constraint trigger subscription_ended after update on billing.subscription
    deferrable initially deferred for each row
    when (
        case when old.end_at is distinct from new.end_at
        then outbox.is_first_change(new.tableoid, 'ended_event') else false end
    )
    execute function outbox.require_event('subscription.ended', 'ended_event', 'ended_xid');

-- What was used, once per source and event id.
create table billing.usage_event (
    source      text           not null,
    event_id    text           not null,
    -- SHA-256 of what is billed by: the same id with another body is a conflict.
    body_hash   bytea          not null,
    account_id  uuid           not null,
    price_id    uuid           not null,
    usage_month date           not null,
    period_seq  int            not null,
    quantity    numeric(28,12) not null,
    -- Exact amount in major units, of a price that is passed through; zero otherwise.
    amount      numeric(28,12) not null,
    used_at     timestamptz    not null,
    recorded_at timestamptz    not null default clock_timestamp(),
    primary key (source, event_id)
);

-- Summed on arrival per account, price and month, under a shared lock of the open period: the close
-- takes the lock alone and reads final sums.
create table billing.usage_sum (
    account_id  uuid    not null,
    period_seq  int     not null,
    price_id    uuid    not null,
    -- Its own month; earlier than the period's for usage that came after its month was closed.
    usage_month date    not null,
    quantity    numeric not null,
    amount      numeric not null,
    events      bigint  not null,
    -- Exclusive or of the first eight bytes of the events' body hashes.
    digest      bigint  not null,
    primary key (account_id, period_seq, price_id, usage_month)
);

-- Gapless numbers: one counter row per series, locked last, never a sequence.
create table billing.number_series (
    series      text   primary key,
    next_number bigint not null default 1
);

create table billing.invoice (
    invoice_id     uuid        primary key,
    account_id     uuid        not null,
    period_seq     int         not null,
    kind           text        not null,
    run_id         uuid        not null,
    series         text        not null,
    number         bigint      not null,
    state          text        not null,
    -- Frozen: the customer as it was, the period in the account's zone, the instant of the figures.
    external_id    text        not null,
    customer_name  text        not null,
    zone           text        not null,
    month          date        not null,
    start_at       timestamptz not null,
    end_at         timestamptz not null,
    as_of          timestamptz not null,
    currency       text        not null,
    lines          int         not null,
    subtotal_minor bigint      not null,
    tax_minor      bigint      not null,
    total_minor    bigint      not null,
    -- SHA-256 over the frozen header and lines.
    digest         bytea       not null,
    finalized_at   timestamptz not null,
    paid_at        timestamptz,
    announced_by   uuid        not null,
    announced_xid  xid8        not null default pg_current_xact_id(),
    constraint invoice_number_unique   unique (series, number),
    constraint invoice_kind_known      check (kind in ('regular')),
    constraint invoice_state_known     check (
        state in ('finalized', 'paid', 'void', 'written_off')
    ),
    constraint invoice_paid_has_instant check ((state = 'paid') = (paid_at is not null)),
    constraint invoice_total_adds_up   check (total_minor = subtotal_minor + tax_minor)
);
create unique index invoice_once_per_period on billing.invoice (account_id, period_seq, kind)
    where state <> 'void';
create index invoice_announced on billing.invoice (announced_xid);
create constraint trigger invoice_announced after insert on billing.invoice
    deferrable initially deferred for each row
    when (outbox.is_first_change(new.tableoid, 'announced_by'))
    execute function outbox.require_event('invoice.finalized', 'announced_by', 'announced_xid');

create table billing.line (
    invoice_id   uuid     not null,
    line_no      int      not null,
    price_id     uuid     not null,
    price_code   text     not null,
    description  text     not null,
    model        text     not null,
    unit         text     not null,
    unit_price   numeric(28, 12),
    -- Of a subscription: which, what an hourly one costs at most, and which part of the period the
    -- line is for.
    subscription_id uuid,
    monthly_price   numeric(28, 12),
    cap_hours       int,
    served_from     timestamptz,
    served_until    timestamptz,
    usage_month  date     not null,
    quantity     numeric  not null,
    -- Before its one rounding, in major units.
    exact        numeric  not null,
    amount_minor bigint   not null,
    usage_events bigint   not null,
    usage_digest bigint   not null,
    primary key (invoice_id, line_no)
);

-- An invoice is frozen: only its state moves on.
create function billing.refuse_change() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'a final invoice never changes (% of %)', lower(tg_op), tg_relid::regclass
        using errcode = 'restrict_violation',
              hint = 'Correct it with a credit note and a new invoice.';
end $$;
create trigger invoice_frozen before update on billing.invoice for each row
    when ((old.invoice_id, old.account_id, old.period_seq, old.kind, old.run_id, old.series,
           old.number, old.external_id, old.customer_name, old.zone, old.month, old.start_at,
           old.end_at, old.as_of, old.currency, old.lines, old.subtotal_minor, old.tax_minor,
           old.total_minor, old.digest, old.finalized_at, old.announced_by, old.announced_xid)
          is distinct from
          (new.invoice_id, new.account_id, new.period_seq, new.kind, new.run_id, new.series,
           new.number, new.external_id, new.customer_name, new.zone, new.month, new.start_at,
           new.end_at, new.as_of, new.currency, new.lines, new.subtotal_minor, new.tax_minor,
           new.total_minor, new.digest, new.finalized_at, new.announced_by, new.announced_xid))
    execute function billing.refuse_change();
create trigger invoice_kept before delete on billing.invoice
    for each row execute function billing.refuse_change();
create trigger line_frozen before update or delete on billing.line
    for each row execute function billing.refuse_change();

-- Each movement of money: debits one book, credits another, so it cannot be unbalanced. It is known
-- by its source, which makes posting twice impossible.
create table billing.transfer (
    source_kind  text        not null,
    source_id    uuid        not null,
    debit        text        not null,
    credit       text        not null,
    -- The customer whose receivable or credit moves; null between books of the house.
    account_id   uuid,
    currency     text        not null,
    amount_minor bigint      not null,
    at           timestamptz not null,
    constraint transfer_posted_once     primary key (source_kind, source_id),
    constraint transfer_moves_something check (amount_minor > 0),
    constraint transfer_between_two     check (debit <> credit),
    constraint transfer_books_known     check (
        debit in ('receivable', 'customer_credit', 'revenue', 'tax', 'cash', 'write_off', 'fx')
        and credit in ('receivable', 'customer_credit', 'revenue', 'tax', 'cash', 'write_off', 'fx')
    ),
    constraint transfer_names_customer  check (
        account_id is not null
        or (debit not in ('receivable', 'customer_credit')
            and credit not in ('receivable', 'customer_credit'))
    )
);

-- Running balances, for customers' books only: one row that every chunk updates would serialise the
-- close. Positive is what the book's name says: a receivable owed by the customer, a credit owed
-- to.
create table billing.balance (
    account_id   uuid   not null,
    book         text   not null,
    currency     text   not null,
    amount_minor bigint not null,
    primary key (account_id, book, currency),
    constraint balance_book_known check (book in ('receivable', 'customer_credit'))
);

-- Periods that could not be billed, and why. A later run tries them again.
create table billing.close_exception (
    account_id uuid        not null,
    period_seq int         not null,
    month      date        not null,
    run_id     uuid        not null references billing.month_close (run_id),
    reason     text        not null,
    noted_at   timestamptz not null default clock_timestamp(),
    primary key (account_id, period_seq),
    foreign key (account_id, period_seq) references billing.period
);

-- One document per final invoice: the intent row of the consumer that writes the files.
create table billing.document (
    invoice_id  uuid        primary key,
    state       text        not null,
    -- Below the documents' folder.
    path        text        not null unique,
    sha256      bytea,
    bytes       bigint,
    intended_at timestamptz not null default clock_timestamp(),
    written_at  timestamptz,
    constraint document_state_known    check (state in ('intended', 'written')),
    constraint document_written_proven check (
        (state = 'written') = (sha256 is not null and bytes is not null and written_at is not null)
    )
)
-- Each row is written twice, soon after each other: the second finds room beside the first.
with (fillfactor = 50);

-- The collection report's figures, kept by their consumer. A bucket per shard, so that shards do
-- not wait for one row.
create table billing.collection_figure (
    month          date   not null,
    currency       text   not null,
    bucket         smallint not null,
    invoices       bigint not null,
    zero           bigint not null,
    paid           bigint not null,
    open           bigint not null,
    lines          bigint not null,
    invoiced_minor bigint not null,
    primary key (month, currency, bucket)
);

-- What other rows refer to stays: an account is closed, a price is not used any more.
create function billing.refuse_removal() returns trigger
language plpgsql set search_path = pg_catalog as $$
begin
    raise exception 'rows of % are kept: others refer to them', tg_relid::regclass
        using errcode = 'restrict_violation';
end $$;
create trigger account_kept before delete or truncate on billing.account
    for each statement execute function billing.refuse_removal();
create trigger price_kept before delete or truncate on billing.price
    for each statement execute function billing.refuse_removal();
create trigger month_close_kept before delete or truncate on billing.month_close
    for each statement execute function billing.refuse_removal();
create trigger period_kept before delete or truncate on billing.period
    for each statement execute function billing.refuse_removal();
create trigger subscription_kept before delete or truncate on billing.subscription
    for each statement execute function billing.refuse_removal();
create trigger number_series_kept before delete or truncate on billing.number_series
    for each statement execute function billing.refuse_removal();
create trigger invoice_stays before truncate on billing.invoice
    for each statement execute function billing.refuse_removal();
create trigger line_stays before truncate on billing.line
    for each statement execute function billing.refuse_removal();

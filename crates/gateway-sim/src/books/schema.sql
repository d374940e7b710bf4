-- The gateway's own books: what it charged, gave back and promised to repeat. They live apart from
-- the billing database, so that the two can be compared as with a real gateway.
-- Times are milliseconds since 1970, UTC. Amounts are minor units.

create table charge (
    number          integer primary key,
    reference       text    not null,
    status          text    not null,
    amount_minor    integer not null,
    currency        text    not null,
    decline_code    text,
    soft            integer,
    refunded_minor  integer not null default 0,
    created_at      integer not null,
    constraint charge_status_known          check (status in ('captured', 'declined')),
    constraint charge_decline_has_reason    check (
        (status = 'declined') = (decline_code is not null)
    ),
    constraint charge_decline_soft_or_not   check (
        (status = 'declined') = (soft is not null)
    ),
    constraint charge_amount_positive       check (amount_minor > 0),
    constraint charge_refund_within_capture check (
        refunded_minor between 0 and case status when 'captured' then amount_minor else 0 end
    )
) strict;

create index charge_reference on charge (reference);

create table refund (
    number        integer primary key,
    charge        integer not null references charge,
    reference     text    not null,
    amount_minor  integer not null,
    created_at    integer not null,
    constraint refund_amount_positive check (amount_minor > 0)
) strict;

create index refund_reference on refund (reference);

-- Every movement of money, once and in order. `at` never decreases with `seq`.
create table movement (
    seq           integer primary key,
    at            integer not null,
    kind          text    not null,
    charge        integer not null references charge,
    refund        integer references refund,
    reference     text    not null,
    amount_minor  integer not null,
    currency      text    not null,
    constraint movement_kind_known      check (kind in ('captured', 'refunded')),
    constraint movement_refund_is_named check ((kind = 'refunded') = (refund is not null))
) strict;

create index movement_at on movement (at);

-- The first answer to each idempotency key; a burnt key has none.
create table idempotency_key (
    key         text    primary key,
    operation   text    not null,
    digest      blob,
    status      integer,
    body        blob,
    charge      integer references charge,
    created_at  integer not null,
    constraint idempotency_key_operation_known check (operation in ('charge', 'refund', 'burnt')),
    constraint idempotency_key_keeps_answer    check (
        (operation = 'burnt') = (digest is null)
        and (digest is null) = (status is null)
        and (digest is null) = (body is null)
    ),
    constraint idempotency_key_names_charge    check ((operation = 'charge') = (charge is not null))
) strict;

-- Tokens and keys whose behaviour differs the first time, and had its first time.
create table first_time (
    subject  text not null,
    name     text not null,
    primary key (subject, name)
) strict, without rowid;

-- Webhooks to send, and those that were.
create table webhook (
    seq         integer primary key,
    body        blob    not null,
    state       text    not null default 'due',
    attempts    integer not null default 0,
    due_at      integer not null,
    constraint webhook_state_known check (state in ('due', 'delivered', 'dead'))
) strict;

create index webhook_due on webhook (due_at) where state = 'due';

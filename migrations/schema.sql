-- The schema after all migrations. Written by `cargo xtask schema`; do not edit.

CREATE SCHEMA billing;

CREATE FUNCTION billing.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    raise exception 'a final invoice never changes (% of %)', lower(tg_op), tg_relid::regclass
        using errcode = 'restrict_violation',
              hint = 'Correct it with a credit note and a new invoice.';
end $$;

CREATE FUNCTION billing.refuse_payment_move() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    raise exception 'a payment does not go from % to %', old.state, new.state
        using errcode = 'restrict_violation',
              hint = 'Money goes back by a refund; a new try is a new payment.';
end $$;

CREATE FUNCTION billing.refuse_refund_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    raise exception 'a refund keeps what it is, and its end (% in state %)', lower(tg_op), old.state
        using errcode = 'restrict_violation',
              hint = 'What was given back is charged again by a new payment.';
end $$;

CREATE FUNCTION billing.refuse_removal() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    raise exception 'rows of % are kept: others refer to them', tg_relid::regclass
        using errcode = 'restrict_violation';
end $$;

CREATE FUNCTION billing.refuse_rewriting() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    raise exception 'what is posted stays (% of %)', lower(tg_op), tg_relid::regclass
        using errcode = 'restrict_violation',
              hint = 'Correct it with another transfer.';
end $$;

CREATE FUNCTION billing.refuse_silent_end() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog'
    AS $$
begin
    raise exception 'the end of subscription % is not announced', old.external_id
        using errcode = 'check_violation', constraint = 'subscription_end_announced';
end $$;

CREATE TABLE billing.account (
    account_id uuid NOT NULL,
    external_id text NOT NULL,
    name text NOT NULL,
    currency text NOT NULL,
    zone text NOT NULL,
    status text DEFAULT 'active'::text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    email text,
    CONSTRAINT account_currency_is_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT account_external_id_named CHECK ((external_id <> ''::text)),
    CONSTRAINT account_status_known CHECK ((status = ANY (ARRAY['active'::text, 'closed'::text])))
);

CREATE TABLE billing.balance (
    account_id uuid NOT NULL,
    book text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT balance_book_known CHECK ((book = ANY (ARRAY['receivable'::text, 'customer_credit'::text])))
)
WITH (fillfactor='50');

CREATE TABLE billing.check_result (
    code text NOT NULL,
    violations bigint NOT NULL,
    rows jsonb NOT NULL,
    checked_at timestamp with time zone NOT NULL,
    took_ms bigint NOT NULL,
    finding_id uuid,
    found_at timestamp with time zone,
    told bigint,
    CONSTRAINT check_result_counts CHECK (((violations >= 0) AND (took_ms >= 0))),
    CONSTRAINT check_result_finding_is_one CHECK ((num_nulls(finding_id, found_at, told) =
CASE
    WHEN (violations > 0) THEN 0
    ELSE 3
END))
);

CREATE TABLE billing.close_exception (
    account_id uuid NOT NULL,
    period_seq integer NOT NULL,
    month date NOT NULL,
    run_id uuid NOT NULL,
    reason text NOT NULL,
    noted_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE billing.collection_figure (
    month date NOT NULL,
    currency text NOT NULL,
    bucket smallint NOT NULL,
    invoices bigint NOT NULL,
    zero bigint NOT NULL,
    paid bigint NOT NULL,
    lines bigint NOT NULL,
    invoiced_minor bigint NOT NULL,
    credit_minor bigint DEFAULT 0 NOT NULL,
    collected_minor bigint DEFAULT 0 NOT NULL
);

CREATE TABLE billing.credit (
    credit_id uuid NOT NULL,
    account_id uuid NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    reason text NOT NULL,
    granted_at timestamp with time zone NOT NULL,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT credit_is_something CHECK ((amount_minor > 0))
);

CREATE TABLE billing.credit_use (
    credit_use_id uuid NOT NULL,
    account_id uuid NOT NULL,
    invoice_id uuid NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    used_at timestamp with time zone NOT NULL,
    CONSTRAINT credit_use_is_something CHECK ((amount_minor > 0))
);

CREATE TABLE billing.document (
    invoice_id uuid NOT NULL,
    state text NOT NULL,
    path text NOT NULL,
    sha256 bytea,
    bytes bigint,
    intended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    written_at timestamp with time zone,
    CONSTRAINT document_state_known CHECK ((state = ANY (ARRAY['intended'::text, 'written'::text]))),
    CONSTRAINT document_written_proven CHECK (((state = 'written'::text) = ((sha256 IS NOT NULL) AND (bytes IS NOT NULL) AND (written_at IS NOT NULL))))
)
WITH (fillfactor='50');

CREATE TABLE billing.dunning (
    invoice_id uuid NOT NULL,
    account_id uuid NOT NULL,
    policy text NOT NULL,
    rung integer NOT NULL,
    state text NOT NULL,
    timer uuid,
    opened_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    CONSTRAINT dunning_closed_instant CHECK (((state = 'closed'::text) = (closed_at IS NOT NULL))),
    CONSTRAINT dunning_state_known CHECK ((state = ANY (ARRAY['retrying'::text, 'held'::text, 'exhausted'::text, 'closed'::text])))
);

CREATE TABLE billing.gateway_webhook (
    gateway text NOT NULL,
    webhook_id text NOT NULL,
    body bytea NOT NULL,
    payment_id uuid,
    outcome text NOT NULL,
    received_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE billing.hold (
    hold_id uuid NOT NULL,
    account_id uuid NOT NULL,
    reason text NOT NULL,
    cause text NOT NULL,
    placed_at timestamp with time zone NOT NULL,
    released_at timestamp with time zone,
    release_cause text,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    released_event uuid,
    released_xid xid8,
    CONSTRAINT hold_reason_known CHECK ((reason = ANY (ARRAY['delinquent'::text, 'dispute'::text, 'fraud'::text, 'manual'::text]))),
    CONSTRAINT hold_release_announced CHECK ((num_nulls(released_at, release_cause, released_event, released_xid) = ANY (ARRAY[0, 4])))
);

CREATE TABLE billing.invoice (
    invoice_id uuid NOT NULL,
    account_id uuid NOT NULL,
    period_seq integer NOT NULL,
    kind text NOT NULL,
    run_id uuid NOT NULL,
    series text NOT NULL,
    number bigint NOT NULL,
    state text NOT NULL,
    external_id text NOT NULL,
    customer_name text NOT NULL,
    zone text NOT NULL,
    month date NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone NOT NULL,
    as_of timestamp with time zone NOT NULL,
    currency text NOT NULL,
    lines integer NOT NULL,
    subtotal_minor bigint NOT NULL,
    tax_minor bigint NOT NULL,
    total_minor bigint NOT NULL,
    digest bytea NOT NULL,
    finalized_at timestamp with time zone NOT NULL,
    paid_at timestamp with time zone,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    credit_minor bigint DEFAULT 0 NOT NULL,
    settled_minor bigint DEFAULT 0 NOT NULL,
    paid_event uuid,
    paid_xid xid8,
    voided_at timestamp with time zone,
    CONSTRAINT invoice_credit_in_range CHECK (((credit_minor >= 0) AND (credit_minor <= GREATEST(total_minor, (0)::bigint)))),
    CONSTRAINT invoice_kind_known CHECK ((kind = 'regular'::text)),
    CONSTRAINT invoice_paid_announced CHECK (((state <> 'paid'::text) OR (paid_at = finalized_at) OR ((paid_event IS NOT NULL) AND (paid_xid IS NOT NULL)))),
    CONSTRAINT invoice_paid_has_instant CHECK (((state = 'paid'::text) = (paid_at IS NOT NULL))),
    CONSTRAINT invoice_paid_if_settled CHECK (((state <> ALL (ARRAY['finalized'::text, 'paid'::text])) OR ((state = 'paid'::text) = (settled_minor = GREATEST(total_minor, (0)::bigint))))),
    CONSTRAINT invoice_settled_in_range CHECK (((settled_minor >= credit_minor) AND (settled_minor <= GREATEST(total_minor, (0)::bigint)))),
    CONSTRAINT invoice_state_known CHECK ((state = ANY (ARRAY['finalized'::text, 'paid'::text, 'void'::text, 'written_off'::text]))),
    CONSTRAINT invoice_total_adds_up CHECK ((total_minor = (subtotal_minor + tax_minor))),
    CONSTRAINT invoice_void_has_instant CHECK (((state = 'void'::text) = (voided_at IS NOT NULL)))
)
WITH (fillfactor='50');

CREATE TABLE billing.line (
    invoice_id uuid NOT NULL,
    line_no integer NOT NULL,
    price_id uuid NOT NULL,
    price_code text NOT NULL,
    description text NOT NULL,
    model text NOT NULL,
    unit text NOT NULL,
    unit_price numeric(28,12),
    subscription_id uuid,
    monthly_price numeric(28,12),
    cap_hours integer,
    served_from timestamp with time zone,
    served_until timestamp with time zone,
    usage_month date NOT NULL,
    quantity numeric NOT NULL,
    exact numeric NOT NULL,
    amount_minor bigint NOT NULL,
    usage_events bigint NOT NULL,
    usage_digest bigint NOT NULL
);

CREATE TABLE billing.month_close (
    month date NOT NULL,
    run_id uuid NOT NULL,
    as_of timestamp with time zone NOT NULL,
    state text NOT NULL,
    started_at timestamp with time zone NOT NULL,
    closed_at timestamp with time zone,
    batch_id uuid,
    settled_at timestamp with time zone,
    CONSTRAINT month_close_closed_has_instant CHECK (((state = 'closed'::text) = (closed_at IS NOT NULL))),
    CONSTRAINT month_close_settled_by_batch CHECK (((settled_at IS NULL) OR (batch_id IS NOT NULL))),
    CONSTRAINT month_close_settled_is_closed CHECK (((settled_at IS NULL) OR (state = 'closed'::text))),
    CONSTRAINT month_close_starts_a_month CHECK ((EXTRACT(day FROM month) = (1)::numeric)),
    CONSTRAINT month_close_state_known CHECK ((state = ANY (ARRAY['running'::text, 'closed'::text])))
);

CREATE TABLE billing.notice (
    notice_id uuid NOT NULL,
    account_id uuid NOT NULL,
    kind text NOT NULL,
    cause uuid NOT NULL,
    invoice_id uuid,
    state text NOT NULL,
    recipient text,
    subject text NOT NULL,
    message_id text NOT NULL,
    suppressed text,
    intended_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    sent_at timestamp with time zone,
    CONSTRAINT notice_kind_known CHECK ((kind = ANY (ARRAY['invoice'::text, 'receipt'::text, 'payment_failed'::text, 'hold'::text, 'release'::text]))),
    CONSTRAINT notice_sent_instant CHECK (((state = 'sent'::text) = (sent_at IS NOT NULL))),
    CONSTRAINT notice_sent_to_somebody CHECK (((state <> 'sent'::text) OR (recipient IS NOT NULL))),
    CONSTRAINT notice_state_known CHECK ((state = ANY (ARRAY['intended'::text, 'sent'::text, 'suppressed'::text]))),
    CONSTRAINT notice_suppressed_why CHECK (((state = 'suppressed'::text) = (suppressed IS NOT NULL)))
)
WITH (fillfactor='50');

CREATE TABLE billing.number_series (
    series text NOT NULL,
    next_number bigint DEFAULT 1 NOT NULL
);

CREATE TABLE billing.payment (
    payment_id uuid NOT NULL,
    account_id uuid NOT NULL,
    invoice_id uuid,
    kind text NOT NULL,
    attempt integer NOT NULL,
    payment_method_id uuid,
    gateway text,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    state text NOT NULL,
    cause uuid,
    created_at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    deadline timestamp with time zone,
    settled_at timestamp with time zone,
    captured_minor bigint,
    applied_minor bigint,
    gateway_ref text,
    decline_code text,
    decline_is_soft boolean,
    note text,
    look_ups integer DEFAULT 0 NOT NULL,
    succeeded_event uuid,
    succeeded_xid xid8,
    declined_event uuid,
    declined_xid xid8,
    CONSTRAINT payment_asks_something CHECK ((amount_minor > 0)),
    CONSTRAINT payment_by_hand_is_done CHECK (((kind <> 'by_hand'::text) OR (state = 'succeeded'::text))),
    CONSTRAINT payment_card_is_whole CHECK (((kind <> 'card'::text) OR (num_nulls(invoice_id, payment_method_id, gateway) = 0))),
    CONSTRAINT payment_decline_said CHECK (((state = 'declined'::text) = (decline_code IS NOT NULL))),
    CONSTRAINT payment_final_at CHECK (((state = ANY (ARRAY['succeeded'::text, 'declined'::text, 'cancelled'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT payment_kind_known CHECK ((kind = ANY (ARRAY['card'::text, 'by_hand'::text]))),
    CONSTRAINT payment_money_in_range CHECK (((captured_minor > 0) AND ((applied_minor >= 0) AND (applied_minor <= captured_minor)))),
    CONSTRAINT payment_money_is_known CHECK (((state = 'succeeded'::text) = ((captured_minor IS NOT NULL) AND (applied_minor IS NOT NULL)))),
    CONSTRAINT payment_refusal_said CHECK ((num_nulls(declined_event, declined_xid) =
CASE state
    WHEN 'declined'::text THEN 0
    ELSE 2
END)),
    CONSTRAINT payment_sent_until CHECK (((state = ANY (ARRAY['created'::text, 'cancelled'::text])) OR (kind = 'by_hand'::text) OR (num_nulls(sent_at, deadline) = 0))),
    CONSTRAINT payment_state_known CHECK ((state = ANY (ARRAY['created'::text, 'sent'::text, 'unknown'::text, 'succeeded'::text, 'declined'::text, 'cancelled'::text, 'manual'::text]))),
    CONSTRAINT payment_success_said CHECK ((num_nulls(succeeded_event, succeeded_xid) =
CASE state
    WHEN 'succeeded'::text THEN 0
    ELSE 2
END))
)
WITH (fillfactor='50');

CREATE TABLE billing.payment_method (
    payment_method_id uuid NOT NULL,
    account_id uuid NOT NULL,
    gateway text NOT NULL,
    token text NOT NULL,
    brand text NOT NULL,
    last_four text NOT NULL,
    added_at timestamp with time zone NOT NULL,
    removed_at timestamp with time zone,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    removed_event uuid,
    removed_xid xid8,
    CONSTRAINT payment_method_gateway_named CHECK ((gateway <> ''::text)),
    CONSTRAINT payment_method_is_no_card_number CHECK ((concat_ws(' | '::text, token, brand, gateway) !~ '([0-9][ ._-]*){12}'::text)),
    CONSTRAINT payment_method_last_four_digits CHECK ((last_four ~ '^[0-9]{4}$'::text)),
    CONSTRAINT payment_method_removal_announced CHECK ((num_nulls(removed_at, removed_event, removed_xid) = ANY (ARRAY[0, 3]))),
    CONSTRAINT payment_method_token_named CHECK ((token <> ''::text))
);

CREATE TABLE billing.period (
    account_id uuid NOT NULL,
    seq integer NOT NULL,
    month date NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone NOT NULL,
    zone text NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    run_id uuid,
    opened_at timestamp with time zone DEFAULT statement_timestamp() NOT NULL,
    CONSTRAINT period_closed_by_run CHECK (((state = 'open'::text) = (run_id IS NULL))),
    CONSTRAINT period_not_empty CHECK ((start_at < end_at)),
    CONSTRAINT period_state_known CHECK ((state = ANY (ARRAY['open'::text, 'billed'::text, 'empty'::text])))
);

CREATE TABLE billing.price (
    price_id uuid NOT NULL,
    code text NOT NULL,
    model text NOT NULL,
    currency text NOT NULL,
    unit_price numeric(28,12),
    monthly_price numeric(28,12),
    cap_hours integer,
    unit text NOT NULL,
    description text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT price_cap_iff_hourly CHECK ((((model = 'hourly_capped'::text) = (monthly_price IS NOT NULL)) AND ((model = 'hourly_capped'::text) = (cap_hours IS NOT NULL)))),
    CONSTRAINT price_cap_is_reached CHECK ((cap_hours > 0)),
    CONSTRAINT price_currency_is_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT price_model_known CHECK ((model = ANY (ARRAY['per_unit'::text, 'pass_through'::text, 'flat'::text, 'hourly_capped'::text]))),
    CONSTRAINT price_rate_unless_passed_through CHECK (((model = 'pass_through'::text) = (unit_price IS NULL)))
);

CREATE TABLE billing.refund (
    refund_id uuid NOT NULL,
    payment_id uuid NOT NULL,
    account_id uuid NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    reason text NOT NULL,
    state text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    sent_at timestamp with time zone,
    settled_at timestamp with time zone,
    credit_minor bigint,
    gateway_ref text,
    note text,
    look_ups integer DEFAULT 0 NOT NULL,
    requested_event uuid NOT NULL,
    requested_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    succeeded_event uuid,
    succeeded_xid xid8,
    CONSTRAINT refund_credit_in_range CHECK (((credit_minor >= 0) AND (credit_minor <= amount_minor))),
    CONSTRAINT refund_credit_is_known CHECK (((state = 'succeeded'::text) = (credit_minor IS NOT NULL))),
    CONSTRAINT refund_decline_said CHECK (((state <> 'declined'::text) OR (note IS NOT NULL))),
    CONSTRAINT refund_final_at CHECK (((state = ANY (ARRAY['succeeded'::text, 'declined'::text])) = (settled_at IS NOT NULL))),
    CONSTRAINT refund_is_something CHECK ((amount_minor > 0)),
    CONSTRAINT refund_state_known CHECK ((state = ANY (ARRAY['created'::text, 'sent'::text, 'unknown'::text, 'succeeded'::text, 'declined'::text]))),
    CONSTRAINT refund_success_said CHECK ((num_nulls(succeeded_event, succeeded_xid) =
CASE state
    WHEN 'succeeded'::text THEN 0
    ELSE 2
END))
);

CREATE TABLE billing.subscription (
    subscription_id uuid NOT NULL,
    account_id uuid NOT NULL,
    external_id text NOT NULL,
    price_id uuid NOT NULL,
    quantity numeric(28,12) NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    ended_event uuid,
    ended_xid xid8,
    CONSTRAINT subscription_end_announced CHECK ((num_nulls(ended_event, ended_xid) = ANY (ARRAY[0, 2]))),
    CONSTRAINT subscription_lasts CHECK ((start_at < end_at)),
    CONSTRAINT subscription_named CHECK ((external_id <> ''::text)),
    CONSTRAINT subscription_of_something CHECK ((quantity > (0)::numeric))
);

CREATE TABLE billing.transfer (
    source_kind text NOT NULL,
    source_id uuid NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    account_id uuid,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT transfer_between_two CHECK ((debit <> credit)),
    CONSTRAINT transfer_books_known CHECK ((ARRAY[debit, credit] <@ ARRAY['receivable'::text, 'customer_credit'::text, 'revenue'::text, 'tax'::text, 'cash'::text, 'bank'::text, 'allowance'::text, 'write_off'::text, 'fx'::text])),
    CONSTRAINT transfer_moves_something CHECK ((amount_minor > 0)),
    CONSTRAINT transfer_names_customer CHECK (((account_id IS NOT NULL) OR ((debit <> ALL (ARRAY['receivable'::text, 'customer_credit'::text])) AND (credit <> ALL (ARRAY['receivable'::text, 'customer_credit'::text])))))
);

CREATE TABLE billing.usage_event (
    source text NOT NULL,
    event_id text NOT NULL,
    body_hash bytea NOT NULL,
    account_id uuid NOT NULL,
    price_id uuid NOT NULL,
    usage_month date NOT NULL,
    period_seq integer NOT NULL,
    quantity numeric(28,12) NOT NULL,
    amount numeric(28,12) NOT NULL,
    used_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);

CREATE TABLE billing.usage_sum (
    account_id uuid NOT NULL,
    period_seq integer NOT NULL,
    price_id uuid NOT NULL,
    usage_month date NOT NULL,
    quantity numeric NOT NULL,
    amount numeric NOT NULL,
    events bigint NOT NULL,
    digest bigint NOT NULL
);

ALTER TABLE ONLY billing.account
    ADD CONSTRAINT account_external_id_key UNIQUE (external_id);

ALTER TABLE ONLY billing.account
    ADD CONSTRAINT account_pkey PRIMARY KEY (account_id);

ALTER TABLE ONLY billing.balance
    ADD CONSTRAINT balance_pkey PRIMARY KEY (account_id, book, currency);

ALTER TABLE ONLY billing.check_result
    ADD CONSTRAINT check_result_pkey PRIMARY KEY (code);

ALTER TABLE ONLY billing.close_exception
    ADD CONSTRAINT close_exception_pkey PRIMARY KEY (account_id, period_seq);

ALTER TABLE ONLY billing.collection_figure
    ADD CONSTRAINT collection_figure_pkey PRIMARY KEY (month, currency, bucket);

ALTER TABLE ONLY billing.credit
    ADD CONSTRAINT credit_pkey PRIMARY KEY (credit_id);

ALTER TABLE ONLY billing.credit_use
    ADD CONSTRAINT credit_use_pkey PRIMARY KEY (credit_use_id);

ALTER TABLE ONLY billing.document
    ADD CONSTRAINT document_path_key UNIQUE (path);

ALTER TABLE ONLY billing.document
    ADD CONSTRAINT document_pkey PRIMARY KEY (invoice_id);

ALTER TABLE ONLY billing.dunning
    ADD CONSTRAINT dunning_pkey PRIMARY KEY (invoice_id);

ALTER TABLE ONLY billing.gateway_webhook
    ADD CONSTRAINT gateway_webhook_pkey PRIMARY KEY (gateway, webhook_id);

ALTER TABLE ONLY billing.hold
    ADD CONSTRAINT hold_pkey PRIMARY KEY (hold_id);

ALTER TABLE ONLY billing.invoice
    ADD CONSTRAINT invoice_number_unique UNIQUE (series, number);

ALTER TABLE ONLY billing.invoice
    ADD CONSTRAINT invoice_pkey PRIMARY KEY (invoice_id);

ALTER TABLE ONLY billing.line
    ADD CONSTRAINT line_pkey PRIMARY KEY (invoice_id, line_no);

ALTER TABLE ONLY billing.month_close
    ADD CONSTRAINT month_close_pkey PRIMARY KEY (month);

ALTER TABLE ONLY billing.month_close
    ADD CONSTRAINT month_close_run_id_key UNIQUE (run_id);

ALTER TABLE ONLY billing.notice
    ADD CONSTRAINT notice_once UNIQUE (account_id, kind, cause);

ALTER TABLE ONLY billing.notice
    ADD CONSTRAINT notice_pkey PRIMARY KEY (notice_id);

ALTER TABLE ONLY billing.number_series
    ADD CONSTRAINT number_series_pkey PRIMARY KEY (series);

ALTER TABLE ONLY billing.payment_method
    ADD CONSTRAINT payment_method_pkey PRIMARY KEY (payment_method_id);

ALTER TABLE ONLY billing.payment
    ADD CONSTRAINT payment_pkey PRIMARY KEY (payment_id);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_pkey PRIMARY KEY (account_id, seq);

ALTER TABLE ONLY billing.price
    ADD CONSTRAINT price_pkey PRIMARY KEY (price_id);

ALTER TABLE ONLY billing.price
    ADD CONSTRAINT price_stands_once UNIQUE NULLS NOT DISTINCT (code, model, currency, unit_price, monthly_price, cap_hours);

ALTER TABLE ONLY billing.refund
    ADD CONSTRAINT refund_pkey PRIMARY KEY (refund_id);

ALTER TABLE ONLY billing.subscription
    ADD CONSTRAINT subscription_once UNIQUE (account_id, external_id);

ALTER TABLE ONLY billing.subscription
    ADD CONSTRAINT subscription_pkey PRIMARY KEY (subscription_id);

ALTER TABLE ONLY billing.transfer
    ADD CONSTRAINT transfer_posted_once PRIMARY KEY (source_kind, source_id);

ALTER TABLE ONLY billing.usage_event
    ADD CONSTRAINT usage_event_pkey PRIMARY KEY (source, event_id);

ALTER TABLE ONLY billing.usage_sum
    ADD CONSTRAINT usage_sum_pkey PRIMARY KEY (account_id, period_seq, price_id, usage_month);

CREATE INDEX credit_of_account ON billing.credit USING btree (account_id);

CREATE INDEX credit_use_of_invoice ON billing.credit_use USING btree (invoice_id);

CREATE INDEX dunning_open ON billing.dunning USING btree (account_id) WHERE (state <> 'closed'::text);

CREATE UNIQUE INDEX hold_open_once ON billing.hold USING btree (account_id, reason) WHERE (released_at IS NULL);

CREATE INDEX invoice_by_month ON billing.invoice USING btree (month, series, number);

CREATE UNIQUE INDEX invoice_once_per_period ON billing.invoice USING btree (account_id, period_seq, kind) WHERE (voided_at IS NULL);

CREATE UNIQUE INDEX payment_method_once ON billing.payment_method USING btree (account_id, gateway, token) WHERE (removed_at IS NULL);

CREATE UNIQUE INDEX payment_nth ON billing.payment USING btree (invoice_id, attempt);

CREATE INDEX payment_of_account ON billing.payment USING btree (account_id);

CREATE UNIQUE INDEX payment_one_open ON billing.payment USING btree (invoice_id) WHERE (settled_at IS NULL);

CREATE INDEX period_open ON billing.period USING btree (month, account_id) WHERE (state = 'open'::text);

CREATE INDEX refund_of_payment ON billing.refund USING btree (payment_id);

CREATE CONSTRAINT TRIGGER account_announced AFTER INSERT ON billing.account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('account.created', 'announced_by', 'announced_xid');

CREATE TRIGGER account_kept BEFORE DELETE OR TRUNCATE ON billing.account FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE CONSTRAINT TRIGGER credit_announced AFTER INSERT ON billing.credit DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('credit.granted', 'announced_by', 'announced_xid');

CREATE CONSTRAINT TRIGGER hold_announced AFTER INSERT ON billing.hold DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('hold.placed', 'announced_by', 'announced_xid');

CREATE CONSTRAINT TRIGGER hold_released AFTER UPDATE ON billing.hold DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN ((old.released_at IS NULL) AND (new.released_at IS NOT NULL)) THEN outbox.is_first_change(new.tableoid, 'released_event'::text, new.released_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('hold.released', 'released_event', 'released_xid');

CREATE CONSTRAINT TRIGGER invoice_announced AFTER INSERT ON billing.invoice DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('invoice.finalized', 'announced_by', 'announced_xid');

CREATE TRIGGER invoice_frozen BEFORE UPDATE ON billing.invoice FOR EACH ROW WHEN (((((((((((((((((((((((((old.invoice_id IS DISTINCT FROM new.invoice_id) OR (old.account_id IS DISTINCT FROM new.account_id)) OR (old.period_seq IS DISTINCT FROM new.period_seq)) OR (old.kind IS DISTINCT FROM new.kind)) OR (old.run_id IS DISTINCT FROM new.run_id)) OR (old.series IS DISTINCT FROM new.series)) OR (old.number IS DISTINCT FROM new.number)) OR (old.external_id IS DISTINCT FROM new.external_id)) OR (old.customer_name IS DISTINCT FROM new.customer_name)) OR (old.zone IS DISTINCT FROM new.zone)) OR (old.month IS DISTINCT FROM new.month)) OR (old.start_at IS DISTINCT FROM new.start_at)) OR (old.end_at IS DISTINCT FROM new.end_at)) OR (old.as_of IS DISTINCT FROM new.as_of)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.lines IS DISTINCT FROM new.lines)) OR (old.subtotal_minor IS DISTINCT FROM new.subtotal_minor)) OR (old.tax_minor IS DISTINCT FROM new.tax_minor)) OR (old.total_minor IS DISTINCT FROM new.total_minor)) OR (old.credit_minor IS DISTINCT FROM new.credit_minor)) OR (old.digest IS DISTINCT FROM new.digest)) OR (old.finalized_at IS DISTINCT FROM new.finalized_at)) OR (old.announced_by IS DISTINCT FROM new.announced_by)) OR (old.announced_xid IS DISTINCT FROM new.announced_xid))) EXECUTE FUNCTION billing.refuse_change();

CREATE TRIGGER invoice_kept BEFORE DELETE ON billing.invoice FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE CONSTRAINT TRIGGER invoice_paid AFTER UPDATE ON billing.invoice DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN ((old.state IS DISTINCT FROM new.state) AND (new.state = 'paid'::text)) THEN outbox.is_first_change(new.tableoid, 'paid_event'::text, new.paid_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('invoice.paid', 'paid_event', 'paid_xid');

CREATE TRIGGER invoice_stays BEFORE TRUNCATE ON billing.invoice FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE TRIGGER line_frozen BEFORE DELETE OR UPDATE ON billing.line FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE TRIGGER line_stays BEFORE TRUNCATE ON billing.line FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE TRIGGER month_close_kept BEFORE DELETE OR TRUNCATE ON billing.month_close FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE TRIGGER number_series_kept BEFORE DELETE OR TRUNCATE ON billing.number_series FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE CONSTRAINT TRIGGER payment_declined AFTER UPDATE ON billing.payment DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN ((new.state = 'declined'::text) AND (old.state <> 'declined'::text)) THEN outbox.is_first_change(new.tableoid, 'declined_event'::text, new.declined_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('payment.declined', 'declined_event', 'declined_xid');

CREATE TRIGGER payment_fixed BEFORE UPDATE ON billing.payment FOR EACH ROW WHEN (((((((((((((old.payment_id IS DISTINCT FROM new.payment_id) OR (old.account_id IS DISTINCT FROM new.account_id)) OR (old.invoice_id IS DISTINCT FROM new.invoice_id)) OR (old.kind IS DISTINCT FROM new.kind)) OR (old.attempt IS DISTINCT FROM new.attempt)) OR (old.payment_method_id IS DISTINCT FROM new.payment_method_id)) OR (old.gateway IS DISTINCT FROM new.gateway)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.amount_minor IS DISTINCT FROM new.amount_minor)) OR (old.cause IS DISTINCT FROM new.cause)) OR (old.created_at IS DISTINCT FROM new.created_at)) OR ((old.captured_minor IS NOT NULL) AND ((old.captured_minor IS DISTINCT FROM new.captured_minor) OR (old.applied_minor IS DISTINCT FROM new.applied_minor))))) EXECUTE FUNCTION billing.refuse_change();

CREATE TRIGGER payment_kept BEFORE DELETE ON billing.payment FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE CONSTRAINT TRIGGER payment_method_announced AFTER INSERT ON billing.payment_method DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('payment_method.added', 'announced_by', 'announced_xid');

CREATE TRIGGER payment_method_kept BEFORE DELETE OR TRUNCATE ON billing.payment_method FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE CONSTRAINT TRIGGER payment_method_removed AFTER UPDATE ON billing.payment_method DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN ((old.removed_at IS NULL) AND (new.removed_at IS NOT NULL)) THEN outbox.is_first_change(new.tableoid, 'removed_event'::text, new.removed_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('payment_method.removed', 'removed_event', 'removed_xid');

CREATE TRIGGER payment_moves BEFORE UPDATE OF state ON billing.payment FOR EACH ROW WHEN (((old.state <> new.state) AND ((((((((((((((((old.state <> 'created'::text) OR (new.state <> 'sent'::text)) AND ((old.state <> 'created'::text) OR (new.state <> 'cancelled'::text))) AND ((old.state <> 'sent'::text) OR (new.state <> 'created'::text))) AND ((old.state <> 'sent'::text) OR (new.state <> 'succeeded'::text))) AND ((old.state <> 'sent'::text) OR (new.state <> 'declined'::text))) AND ((old.state <> 'sent'::text) OR (new.state <> 'unknown'::text))) AND ((old.state <> 'sent'::text) OR (new.state <> 'cancelled'::text))) AND ((old.state <> 'unknown'::text) OR (new.state <> 'succeeded'::text))) AND ((old.state <> 'unknown'::text) OR (new.state <> 'declined'::text))) AND ((old.state <> 'unknown'::text) OR (new.state <> 'cancelled'::text))) AND ((old.state <> 'unknown'::text) OR (new.state <> 'manual'::text))) AND ((old.state <> 'sent'::text) OR (new.state <> 'manual'::text))) AND ((old.state <> 'manual'::text) OR (new.state <> 'succeeded'::text))) AND ((old.state <> 'manual'::text) OR (new.state <> 'declined'::text))) AND ((old.state <> 'manual'::text) OR (new.state <> 'cancelled'::text))))) EXECUTE FUNCTION billing.refuse_payment_move();

CREATE CONSTRAINT TRIGGER payment_succeeded AFTER INSERT OR UPDATE ON billing.payment DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN (new.state = 'succeeded'::text) THEN outbox.is_first_change(new.tableoid, 'succeeded_event'::text, new.succeeded_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('payment.succeeded', 'succeeded_event', 'succeeded_xid');

CREATE TRIGGER period_kept BEFORE DELETE OR TRUNCATE ON billing.period FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE CONSTRAINT TRIGGER price_announced AFTER INSERT ON billing.price DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('price.created', 'announced_by', 'announced_xid');

CREATE TRIGGER price_kept BEFORE DELETE OR TRUNCATE ON billing.price FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE TRIGGER refund_fixed BEFORE UPDATE ON billing.refund FOR EACH ROW WHEN (((old.state = ANY (ARRAY['succeeded'::text, 'declined'::text])) OR (((((((((old.refund_id IS DISTINCT FROM new.refund_id) OR (old.payment_id IS DISTINCT FROM new.payment_id)) OR (old.account_id IS DISTINCT FROM new.account_id)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.amount_minor IS DISTINCT FROM new.amount_minor)) OR (old.reason IS DISTINCT FROM new.reason)) OR (old.created_at IS DISTINCT FROM new.created_at)) OR (old.requested_event IS DISTINCT FROM new.requested_event)) OR (old.requested_xid IS DISTINCT FROM new.requested_xid)) OR ((old.state <> 'created'::text) AND (new.state = 'created'::text)) OR ((old.state = 'unknown'::text) AND (new.state = 'sent'::text)))) EXECUTE FUNCTION billing.refuse_refund_change();

CREATE TRIGGER refund_kept BEFORE DELETE ON billing.refund FOR EACH ROW EXECUTE FUNCTION billing.refuse_refund_change();

CREATE CONSTRAINT TRIGGER refund_requested AFTER INSERT ON billing.refund DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'requested_event'::text, new.requested_event)) EXECUTE FUNCTION outbox.require_event('refund.requested', 'requested_event', 'requested_xid');

CREATE CONSTRAINT TRIGGER refund_succeeded AFTER INSERT OR UPDATE ON billing.refund DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN (new.state = 'succeeded'::text) THEN outbox.is_first_change(new.tableoid, 'succeeded_event'::text, new.succeeded_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('refund.succeeded', 'succeeded_event', 'succeeded_xid');

CREATE CONSTRAINT TRIGGER subscription_announced AFTER INSERT ON billing.subscription DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (outbox.is_first_change(new.tableoid, 'announced_by'::text, new.announced_by)) EXECUTE FUNCTION outbox.require_event('subscription.started', 'announced_by', 'announced_xid');

CREATE TRIGGER subscription_end_told BEFORE UPDATE ON billing.subscription FOR EACH ROW WHEN (((old.end_at IS DISTINCT FROM new.end_at) AND (new.ended_xid IS DISTINCT FROM pg_current_xact_id()))) EXECUTE FUNCTION billing.refuse_silent_end();

CREATE CONSTRAINT TRIGGER subscription_ended AFTER UPDATE ON billing.subscription DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (
        CASE
            WHEN (old.end_at IS DISTINCT FROM new.end_at) THEN outbox.is_first_change(new.tableoid, 'ended_event'::text, new.ended_event)
            ELSE false
        END) EXECUTE FUNCTION outbox.require_event('subscription.ended', 'ended_event', 'ended_xid');

CREATE TRIGGER subscription_kept BEFORE DELETE OR TRUNCATE ON billing.subscription FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

CREATE TRIGGER transfer_kept BEFORE DELETE OR UPDATE ON billing.transfer FOR EACH ROW EXECUTE FUNCTION billing.refuse_rewriting();

CREATE TRIGGER transfer_stays BEFORE TRUNCATE ON billing.transfer FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_removal();

ALTER TABLE ONLY billing.close_exception
    ADD CONSTRAINT close_exception_account_id_period_seq_fkey FOREIGN KEY (account_id, period_seq) REFERENCES billing.period(account_id, seq);

ALTER TABLE ONLY billing.close_exception
    ADD CONSTRAINT close_exception_run_id_fkey FOREIGN KEY (run_id) REFERENCES billing.month_close(run_id);

ALTER TABLE ONLY billing.credit_use
    ADD CONSTRAINT credit_use_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.credit_use
    ADD CONSTRAINT credit_use_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoice(invoice_id);

ALTER TABLE ONLY billing.dunning
    ADD CONSTRAINT dunning_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.dunning
    ADD CONSTRAINT dunning_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoice(invoice_id);

ALTER TABLE ONLY billing.gateway_webhook
    ADD CONSTRAINT gateway_webhook_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES billing.payment(payment_id);

ALTER TABLE ONLY billing.hold
    ADD CONSTRAINT hold_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.refund
    ADD CONSTRAINT refund_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.refund
    ADD CONSTRAINT refund_payment_id_fkey FOREIGN KEY (payment_id) REFERENCES billing.payment(payment_id);

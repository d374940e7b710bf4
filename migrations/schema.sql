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
    CONSTRAINT account_currency_is_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT account_external_id_named CHECK ((external_id <> ''::text)),
    CONSTRAINT account_status_known CHECK ((status = ANY (ARRAY['active'::text, 'held'::text, 'closed'::text])))
);

CREATE TABLE billing.balance (
    account_id uuid NOT NULL,
    book text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    CONSTRAINT balance_book_known CHECK ((book = ANY (ARRAY['receivable'::text, 'customer_credit'::text])))
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
    open bigint NOT NULL,
    lines bigint NOT NULL,
    invoiced_minor bigint NOT NULL
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
    CONSTRAINT invoice_kind_known CHECK ((kind = 'regular'::text)),
    CONSTRAINT invoice_paid_has_instant CHECK (((state = 'paid'::text) = (paid_at IS NOT NULL))),
    CONSTRAINT invoice_state_known CHECK ((state = ANY (ARRAY['finalized'::text, 'paid'::text, 'void'::text, 'written_off'::text]))),
    CONSTRAINT invoice_total_adds_up CHECK ((total_minor = (subtotal_minor + tax_minor)))
);

CREATE TABLE billing.line (
    invoice_id uuid NOT NULL,
    line_no integer NOT NULL,
    price_id uuid NOT NULL,
    price_code text NOT NULL,
    description text NOT NULL,
    model text NOT NULL,
    unit text NOT NULL,
    unit_price numeric(28,12),
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
    CONSTRAINT month_close_closed_has_instant CHECK (((state = 'closed'::text) = (closed_at IS NOT NULL))),
    CONSTRAINT month_close_starts_a_month CHECK ((EXTRACT(day FROM month) = (1)::numeric)),
    CONSTRAINT month_close_state_known CHECK ((state = ANY (ARRAY['running'::text, 'closed'::text])))
);

CREATE TABLE billing.number_series (
    series text NOT NULL,
    next_number bigint DEFAULT 1 NOT NULL
);

CREATE TABLE billing.period (
    account_id uuid NOT NULL,
    seq integer NOT NULL,
    month date NOT NULL,
    start_at timestamp with time zone NOT NULL,
    end_at timestamp with time zone NOT NULL,
    prev_end_at timestamp with time zone,
    zone text NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    run_id uuid,
    CONSTRAINT period_closed_by_run CHECK (((state = 'open'::text) = (run_id IS NULL))),
    CONSTRAINT period_first_has_no_prev CHECK (((seq = 0) = (prev_end_at IS NULL))),
    CONSTRAINT period_not_empty CHECK ((start_at < end_at)),
    CONSTRAINT period_state_known CHECK ((state = ANY (ARRAY['open'::text, 'billed'::text, 'empty'::text]))),
    CONSTRAINT period_tiles CHECK (((prev_end_at IS NULL) OR (prev_end_at = start_at)))
);

CREATE TABLE billing.price (
    price_id uuid NOT NULL,
    code text NOT NULL,
    model text NOT NULL,
    currency text NOT NULL,
    unit_price numeric(28,12),
    unit text NOT NULL,
    description text NOT NULL,
    created_at timestamp with time zone NOT NULL,
    announced_by uuid NOT NULL,
    announced_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT price_currency_is_iso CHECK ((currency ~ '^[A-Z]{3}$'::text)),
    CONSTRAINT price_model_known CHECK ((model = ANY (ARRAY['per_unit'::text, 'pass_through'::text]))),
    CONSTRAINT price_rate_iff_per_unit CHECK (((model = 'per_unit'::text) = (unit_price IS NOT NULL)))
);

CREATE TABLE billing.transfer (
    transfer_id uuid NOT NULL,
    source_kind text NOT NULL,
    source_id uuid NOT NULL,
    debit text NOT NULL,
    credit text NOT NULL,
    account_id uuid,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    at timestamp with time zone NOT NULL,
    CONSTRAINT transfer_between_two CHECK ((debit <> credit)),
    CONSTRAINT transfer_books_known CHECK (((debit = ANY (ARRAY['receivable'::text, 'customer_credit'::text, 'revenue'::text, 'tax'::text, 'cash'::text, 'write_off'::text, 'fx'::text])) AND (credit = ANY (ARRAY['receivable'::text, 'customer_credit'::text, 'revenue'::text, 'tax'::text, 'cash'::text, 'write_off'::text, 'fx'::text])))),
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

ALTER TABLE ONLY billing.close_exception
    ADD CONSTRAINT close_exception_pkey PRIMARY KEY (account_id, period_seq);

ALTER TABLE ONLY billing.collection_figure
    ADD CONSTRAINT collection_figure_pkey PRIMARY KEY (month, currency, bucket);

ALTER TABLE ONLY billing.document
    ADD CONSTRAINT document_path_key UNIQUE (path);

ALTER TABLE ONLY billing.document
    ADD CONSTRAINT document_pkey PRIMARY KEY (invoice_id);

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

ALTER TABLE ONLY billing.number_series
    ADD CONSTRAINT number_series_pkey PRIMARY KEY (series);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_ends_once UNIQUE (account_id, end_at);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_follows_once UNIQUE (account_id, prev_end_at);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_pkey PRIMARY KEY (account_id, seq);

ALTER TABLE ONLY billing.price
    ADD CONSTRAINT price_pkey PRIMARY KEY (price_id);

ALTER TABLE ONLY billing.price
    ADD CONSTRAINT price_stands_once UNIQUE NULLS NOT DISTINCT (code, model, currency, unit_price);

ALTER TABLE ONLY billing.transfer
    ADD CONSTRAINT transfer_pkey PRIMARY KEY (transfer_id);

ALTER TABLE ONLY billing.transfer
    ADD CONSTRAINT transfer_posted_once UNIQUE (source_kind, source_id);

ALTER TABLE ONLY billing.usage_event
    ADD CONSTRAINT usage_event_pkey PRIMARY KEY (source, event_id);

ALTER TABLE ONLY billing.usage_sum
    ADD CONSTRAINT usage_sum_pkey PRIMARY KEY (account_id, period_seq, price_id, usage_month);

CREATE INDEX account_announced ON billing.account USING btree (announced_xid);

CREATE INDEX invoice_announced ON billing.invoice USING btree (announced_xid);

CREATE UNIQUE INDEX invoice_once_per_period ON billing.invoice USING btree (account_id, period_seq, kind) WHERE (state <> 'void'::text);

CREATE INDEX period_open ON billing.period USING btree (month, account_id) WHERE (state = 'open'::text);

CREATE INDEX price_announced ON billing.price USING btree (announced_xid);

CREATE CONSTRAINT TRIGGER account_announced AFTER INSERT ON billing.account DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox.require_event('account.created', 'announced_by', 'announced_xid');

CREATE CONSTRAINT TRIGGER invoice_announced AFTER INSERT ON billing.invoice DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox.require_event('invoice.finalized', 'announced_by', 'announced_xid');

CREATE TRIGGER invoice_frozen BEFORE UPDATE ON billing.invoice FOR EACH ROW WHEN ((((((((((((((((((((((((old.invoice_id IS DISTINCT FROM new.invoice_id) OR (old.account_id IS DISTINCT FROM new.account_id)) OR (old.period_seq IS DISTINCT FROM new.period_seq)) OR (old.kind IS DISTINCT FROM new.kind)) OR (old.run_id IS DISTINCT FROM new.run_id)) OR (old.series IS DISTINCT FROM new.series)) OR (old.number IS DISTINCT FROM new.number)) OR (old.external_id IS DISTINCT FROM new.external_id)) OR (old.customer_name IS DISTINCT FROM new.customer_name)) OR (old.zone IS DISTINCT FROM new.zone)) OR (old.month IS DISTINCT FROM new.month)) OR (old.start_at IS DISTINCT FROM new.start_at)) OR (old.end_at IS DISTINCT FROM new.end_at)) OR (old.as_of IS DISTINCT FROM new.as_of)) OR (old.currency IS DISTINCT FROM new.currency)) OR (old.lines IS DISTINCT FROM new.lines)) OR (old.subtotal_minor IS DISTINCT FROM new.subtotal_minor)) OR (old.tax_minor IS DISTINCT FROM new.tax_minor)) OR (old.total_minor IS DISTINCT FROM new.total_minor)) OR (old.digest IS DISTINCT FROM new.digest)) OR (old.finalized_at IS DISTINCT FROM new.finalized_at)) OR (old.announced_by IS DISTINCT FROM new.announced_by)) OR (old.announced_xid IS DISTINCT FROM new.announced_xid))) EXECUTE FUNCTION billing.refuse_change();

CREATE TRIGGER invoice_kept BEFORE DELETE ON billing.invoice FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE TRIGGER line_frozen BEFORE DELETE OR UPDATE ON billing.line FOR EACH ROW EXECUTE FUNCTION billing.refuse_change();

CREATE CONSTRAINT TRIGGER price_announced AFTER INSERT ON billing.price DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION outbox.require_event('price.created', 'announced_by', 'announced_xid');

ALTER TABLE ONLY billing.balance
    ADD CONSTRAINT balance_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.close_exception
    ADD CONSTRAINT close_exception_account_id_period_seq_fkey FOREIGN KEY (account_id, period_seq) REFERENCES billing.period(account_id, seq);

ALTER TABLE ONLY billing.close_exception
    ADD CONSTRAINT close_exception_run_id_fkey FOREIGN KEY (run_id) REFERENCES billing.month_close(run_id);

ALTER TABLE ONLY billing.document
    ADD CONSTRAINT document_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoice(invoice_id);

ALTER TABLE ONLY billing.invoice
    ADD CONSTRAINT invoice_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.invoice
    ADD CONSTRAINT invoice_account_id_period_seq_fkey FOREIGN KEY (account_id, period_seq) REFERENCES billing.period(account_id, seq);

ALTER TABLE ONLY billing.invoice
    ADD CONSTRAINT invoice_run_id_fkey FOREIGN KEY (run_id) REFERENCES billing.month_close(run_id);

ALTER TABLE ONLY billing.invoice
    ADD CONSTRAINT invoice_series_fkey FOREIGN KEY (series) REFERENCES billing.number_series(series);

ALTER TABLE ONLY billing.line
    ADD CONSTRAINT line_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoice(invoice_id);

ALTER TABLE ONLY billing.line
    ADD CONSTRAINT line_price_id_fkey FOREIGN KEY (price_id) REFERENCES billing.price(price_id);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_follows FOREIGN KEY (account_id, prev_end_at) REFERENCES billing.period(account_id, end_at);

ALTER TABLE ONLY billing.period
    ADD CONSTRAINT period_run_id_fkey FOREIGN KEY (run_id) REFERENCES billing.month_close(run_id);

ALTER TABLE ONLY billing.transfer
    ADD CONSTRAINT transfer_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.usage_event
    ADD CONSTRAINT usage_event_account_id_fkey FOREIGN KEY (account_id) REFERENCES billing.account(account_id);

ALTER TABLE ONLY billing.usage_event
    ADD CONSTRAINT usage_event_account_id_period_seq_fkey FOREIGN KEY (account_id, period_seq) REFERENCES billing.period(account_id, seq);

ALTER TABLE ONLY billing.usage_event
    ADD CONSTRAINT usage_event_price_id_fkey FOREIGN KEY (price_id) REFERENCES billing.price(price_id);

ALTER TABLE ONLY billing.usage_sum
    ADD CONSTRAINT usage_sum_account_id_period_seq_fkey FOREIGN KEY (account_id, period_seq) REFERENCES billing.period(account_id, seq);

ALTER TABLE ONLY billing.usage_sum
    ADD CONSTRAINT usage_sum_price_id_fkey FOREIGN KEY (price_id) REFERENCES billing.price(price_id);

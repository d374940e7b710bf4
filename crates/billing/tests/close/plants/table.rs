//! What is planted, and what must find it.

/// The check that it is made for and the others that must find it as well, the bug that it stands
/// for, and the statements that plant it.
pub(super) type Plant = (&'static [&'static str], &'static str, &'static str);

pub(super) const PLANTS: &[Plant] = &[
    (&["L3"], "a balance moved twice", "update billing.balance set amount_minor = 1"),
    (&["L3"], "a balance lost", "delete from billing.balance where book = 'receivable'"),
    (
        &["L3"],
        "two rows for one balance",
        "insert into billing.balance select account_id, book, currency, 0 from billing.balance",
    ),
    (
        &["L3", "L4"],
        "an invoice posted twice",
        "insert into billing.transfer select transfer.* from billing.transfer
        where source_kind = 'invoice'",
    ),
    (
        &["L3", "L4"],
        "an invoice that was not posted",
        "delete from billing.transfer where debit = 'receivable'",
    ),
    (
        &["L4"],
        "a zero total posted, in the house's books",
        "insert into billing.transfer select 'invoice', invoice_id, 'cash',
            'revenue', null, currency, 1, finalized_at
        from billing.invoice where total_minor = 0",
    ),
    (
        &["L3", "L4"],
        "a charge posted as a credit",
        "update billing.transfer set debit = credit, credit = debit where debit = 'receivable'",
    ),
    (
        &["L6"],
        "a posting without its invoice",
        "insert into billing.transfer values ('invoice', gen_random_uuid(),
            'cash', 'revenue', null, 'USD', 5, now())",
    ),
    (
        &["L6"],
        "a posting of an unknown kind",
        "insert into billing.transfer values ('gift', gen_random_uuid(),
            'cash', 'revenue', null, 'USD', 5, now())",
    ),
    (
        &["L6"],
        "a posting of a refund that there is not",
        "insert into billing.transfer values ('refund', gen_random_uuid(),
            'allowance', 'cash', null, 'USD', 5, now())",
    ),
    (
        &["L8"],
        "a refund that never reached the books",
        "delete from billing.transfer where source_kind = 'refund'",
    ),
    (
        &["L8", "E3", "P4"],
        "a refund posted before it was made",
        "update billing.refund set state = 'sent', settled_at = null, credit_minor = null",
    ),
    (
        &["I1", "I5", "I7"],
        "a line edited later",
        "update billing.line set amount_minor = amount_minor + 1 where line_no = 2",
    ),
    (
        &["I1", "I5", "L4", "E9", "M1", "R1"],
        "tax charged and not written down",
        "update billing.invoice set total_minor = total_minor + 5 where currency = 'JPY'",
    ),
    (&["I1", "I5", "M5", "M6"], "a line lost", "delete from billing.line where line_no = 2"),
    (&["I2"], "paid at no time", "update billing.invoice set paid_at = null"),
    (
        &["I2", "I5"],
        "final at no time",
        "update billing.invoice set finalized_at = null where currency = 'JPY'",
    ),
    (
        &["I3", "I5", "E9"],
        "two invoices of one number",
        "update billing.invoice set number = 1 where number = 2",
    ),
    (
        &["I3", "I5", "E9"],
        "a gap",
        "update billing.invoice set number = 100 where number = 2;
        update billing.number_series set next_number = 101",
    ),
    (&["I3"], "a counter set back", "update billing.number_series set next_number = 2"),
    (&["I3", "F1"], "a counter lost", "delete from billing.number_series"),
    (
        &["I4", "L4", "I1", "I3", "I5", "E1", "E9", "M1", "M2", "D1", "N1", "R1"],
        "a month closed twice",
        "insert into billing.invoice select (jsonb_populate_record(invoice, jsonb_build_object(
            'invoice_id', gen_random_uuid()))).* from billing.invoice where currency = 'JPY'",
    ),
    (
        &["I5"],
        "a customer renamed on a final invoice",
        "update billing.invoice set customer_name = 'Another' where number = 1",
    ),
    (
        &["I5"],
        "a description edited",
        "update billing.line set description = 'Something else' where line_no = 1",
    ),
    (
        &["I6", "H1", "H2", "R1", "A1"],
        "paid without money",
        "update billing.invoice set state = 'paid', paid_at = now() where currency = 'JPY'",
    ),
    (
        &["I6", "R1"],
        "a credit waiting for payment",
        "update billing.invoice set state = 'finalized', paid_at = null where total_minor < 0",
    ),
    (
        &["I7", "I5", "M5", "M6"],
        "rounded before the line",
        "update billing.line set exact = exact + 0.01 where line_no = 1",
    ),
    (
        &["E1", "E5", "A1"],
        "an event lost",
        "delete from outbox.event where id = (
            select min(id) from outbox.event where topic = 'invoice.finalized')",
    ),
    (
        &["E1", "E2", "E4"],
        "an event written twice",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        select gen_random_uuid(), topic, schema_version, key, part, lane, payload, actor
        from outbox.event where topic = 'invoice.finalized' limit 1",
    ),
    (
        &["E1", "A1"],
        "an event under another's key",
        "update outbox.event set key = gen_random_uuid() where topic = 'invoice.finalized'",
    ),
    (
        &["E2", "E4"],
        "an event of an invoice that was rolled back",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        values (gen_random_uuid(), 'invoice.finalized', 1, gen_random_uuid(), 0, 1,
            jsonb_build_object('invoice_id', gen_random_uuid()), 'Ada')",
    ),
    (
        &["E2", "E4"],
        "an event of an account that was rolled back",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        values (gen_random_uuid(), 'account.created', 1, gen_random_uuid(), 0, 1, '{}', 'Ada')",
    ),
    (
        &["E2", "E4"],
        "an event of a close that was rolled back",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        values (gen_random_uuid(), 'month_close.started', 1, gen_random_uuid(), 0, 1, '{}', 'Ada')",
    ),
    (
        &["E4", "E2"],
        "an event that no relay has seen",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        select gen_random_uuid(), topic, schema_version, key, part, lane, payload, actor
        from outbox.event where topic = 'price.created' limit 1",
    ),
    (
        &["E4"],
        "a consumer that stopped",
        "delete from outbox.position where n > 0;
        update outbox.position set passed = 0",
    ),
    (
        &["E5"],
        "an event skipped by a consumer",
        "update outbox.position set passed = passed - 1 where passed > 0",
    ),
    (
        &["E5"],
        "an event handled twice",
        "update outbox.position set passed = passed + 1 where passed > 0",
    ),
    (
        &["E6"],
        "a dead letter nobody looked at",
        "insert into outbox.delivery (consumer, event_id, tick, id, topic, schema_version, key,
            part, lane, at, payload, actor, state, attempt, dead_reason)
        select 1, event_id, 1, id, topic, schema_version, key, part, lane, at, payload, actor,
            'dead', 1, 'unreadable' from outbox.event limit 1",
    ),
    (
        &["E9"],
        "an event that shows another total",
        "update outbox.event set payload = payload::jsonb || '{\"total\": \"13.00\"}'
        where topic = 'invoice.finalized'",
    ),
    (
        &["M1"],
        "accounts dropped silently",
        "update outbox.event set payload = jsonb_set(payload::jsonb, '{figures,invoices}', '1')
        where topic = 'month_close.completed' and payload ->> 'month' = '2024-09'",
    ),
    (
        &["M1", "M2"],
        "an exception forgotten",
        "delete from billing.close_exception",
    ),
    (
        &["M2", "M1", "M5"],
        "an account missed by the close",
        "update billing.period set state = 'open', run_id = null
        where month = '2024-09-01' and account_id in (
            select account_id from billing.account where external_id = 'nippon')",
    ),
    (
        &["M1", "M2", "M5"],
        "a period called empty that was not",
        "update billing.period set state = 'empty'
        where month = '2024-09-01' and account_id in (
            select account_id from billing.account where external_id = 'nippon')",
    ),
    (
        &["M3"],
        "usage recorded and not summed",
        "insert into billing.usage_event (source, event_id, body_hash, account_id, price_id,
            usage_month, period_seq, quantity, amount, used_at, recorded_at)
        select 'other', event_id, body_hash, account_id, price_id, usage_month, period_seq,
            quantity, amount, used_at, now() from billing.usage_event",
    ),
    (
        &["M3"],
        "usage swapped under the same count and sum",
        "update billing.usage_event set body_hash = sha256('another')
        where event_id = (select min(event_id) from billing.usage_event)",
    ),
    (&["M3", "M5"], "a sum changed after it was billed", "update billing.usage_sum set events = 9"),
    (
        &["M5", "I1", "I5"],
        "usage billed on two lines",
        "insert into billing.line select (jsonb_populate_record(line, '{\"line_no\": 9}')).*
        from billing.line where quantity = 7",
    ),
    (
        &["M5", "I5", "I7"],
        "usage billed at another price",
        "update billing.line set unit_price = 0.5, exact = 0.5 * quantity
        where unit_price = 0.125 and quantity = 0.8",
    ),
    (
        &["M6", "I1", "I5"],
        "a server left out",
        "delete from billing.line where price_code = 'vps' and line_no = 3",
    ),
    (
        &["M6", "I1", "I5"],
        "a plan billed on two lines",
        "insert into billing.line select (jsonb_populate_record(line, '{\"line_no\": 9}')).*
        from billing.line where price_code = 'plan'",
    ),
    (
        &["M6", "I5", "I7"],
        "a day too few",
        "update billing.line set exact = exact - 0.67 where price_code = 'plan'",
    ),
    (
        &["M6", "I5"],
        "an hour that was the month's before",
        "update billing.line set quantity = quantity - 1 where price_code = 'vps'",
    ),
    (
        &["M6"],
        "a server that ended earlier than it was billed",
        "update billing.subscription set end_at = end_at - interval '2 hours'
        where external_id = 'web-2'",
    ),
    (
        &["F1", "T1"],
        "a period of an account that there is not",
        "insert into billing.period select (jsonb_populate_record(period, jsonb_build_object(
            'account_id', gen_random_uuid(), 'seq', 7))).*
        from billing.period where state = 'open' limit 1",
    ),
    (
        &["M4", "M2", "E4"],
        "a close completed twice",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        select gen_random_uuid(), topic, schema_version, key, part, lane, payload, actor
        from outbox.event where topic = 'month_close.completed'",
    ),
    (
        &["M4", "M1"],
        "a close never completed",
        "delete from outbox.event where topic = 'month_close.completed'",
    ),
    (
        &["A1", "M4"],
        "a close nobody started",
        "delete from outbox.event where topic = 'month_close.started'",
    ),
    (
        &["A1"],
        "an account nobody created",
        "delete from outbox.event where topic = 'account.created'",
    ),
    (
        &["A1"],
        "a subscription nobody started",
        "delete from outbox.event where topic = 'subscription.started'",
    ),
    (
        &["A1"],
        "a subscription nobody ended",
        "delete from outbox.event where topic = 'subscription.ended'",
    ),
    (
        &["A1"],
        "a card nobody added",
        "delete from outbox.event where topic = 'payment_method.added'",
    ),
    (&["A1"], "credit nobody granted", "delete from outbox.event where topic = 'credit.granted'"),
    (&["A1"], "a price nobody set", "delete from outbox.event where topic = 'price.created'"),
    (&["A3"], "an anonymous change", "update outbox.event set actor = ' ' where id = 1"),
    (
        &["T1"],
        "a gap between periods",
        "update billing.period set start_at = start_at + interval '1 hour' where seq = 1",
    ),
    (&["T1"], "a period lost", "delete from billing.period where seq = 1 and state = 'open'"),
    (
        &["T1"],
        "a month skipped",
        "update billing.period set month = month + interval '1 month' where seq = 3",
    ),
    (&["D1"], "a document not written", "update billing.document set state = 'intended'"),
    (&["D1"], "a document without proof", "update billing.document set sha256 = null"),
    (&["D1"], "an invoice without document", "delete from billing.document"),
    (
        &["R1"],
        "an invoice counted twice",
        "update billing.collection_figure set invoices = invoices + 1",
    ),
    (&["R1"], "a month not counted", "delete from billing.collection_figure"),
    (&["X1"], "commits that are not kept", "set local synchronous_commit = off"),
];

//! What is planted among payments, credit, dunning, holds and notices, and what must find it.

use super::table::Plant;

pub(super) const PLANTS: &[Plant] = &[
    (
        &["L5", "L3"],
        "money that never reached the books",
        "delete from billing.transfer where source_kind = 'payment'",
    ),
    (
        &["L5", "L6"],
        "an overpayment kept by the house",
        "update billing.transfer set source_kind = 'payment', source_id = (
            select payment_id from billing.payment where state = 'unknown')
        where source_kind = 'payment_excess'",
    ),
    (
        &["L7", "L3"],
        "a credit promised and not given",
        "delete from billing.transfer where source_kind = 'credit'",
    ),
    (
        &["L7", "I8"],
        "credit used up and not written down",
        "update billing.credit_use set amount_minor = amount_minor - 1",
    ),
    (
        &["I8", "I6"],
        "settled by nobody",
        "update billing.invoice set settled_minor = total_minor where state = 'finalized'",
    ),
    (
        &["E3", "E4"],
        "a success told twice",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        select gen_random_uuid(), topic, schema_version, key, part, lane, payload, actor
        from outbox.event where topic = 'payment.succeeded' limit 1",
    ),
    (
        &["P1", "P3"],
        "two charges under way for one invoice",
        "insert into billing.payment select (jsonb_populate_record(payment, jsonb_build_object(
            'payment_id', gen_random_uuid(), 'attempt', 7))).*
        from billing.payment where state = 'unknown'",
    ),
    (
        &["P2", "A1"],
        "a removed card charged",
        "update billing.payment_method set removed_at = '2001-01-01'
        where payment_method_id in (
            select payment_method_id from billing.payment where state = 'declined')",
    ),
    (
        &["P2"],
        "charged above the invoice",
        "update billing.payment set amount_minor = amount_minor * 2 where state = 'unknown'",
    ),
    (
        &["P3"],
        "an unknown outcome that nobody asks for",
        "delete from outbox.timer where topic = 'payment.unresolved'",
    ),
    (
        &["P4"],
        "a charge left half way",
        "update billing.payment set state = 'sent' where state = 'unknown'",
    ),
    (
        &["P5", "P4"],
        "two refunds of what was left for one",
        "insert into billing.refund select (jsonb_populate_record(refund, jsonb_build_object(
            'refund_id', gen_random_uuid(), 'state', 'sent', 'amount_minor', 1201,
            'credit_minor', null, 'settled_at', null, 'gateway_ref', null))).*
        from billing.refund",
    ),
    (
        &["P5", "F2"],
        "given back though nothing came in",
        "update billing.refund set payment_id = (
            select payment_id from billing.payment where state = 'unknown')",
    ),
    (
        &["H1", "A1", "N1"],
        "a customer held who owes nothing",
        "insert into billing.hold (hold_id, account_id, reason, cause, placed_at, announced_by)
        select gen_random_uuid(), account_id, 'delinquent', 'x', now(), gen_random_uuid()
        from billing.account where external_id = 'zero'",
    ),
    (
        &["H1", "A1", "N1"],
        "a debtor who was let go",
        "update billing.hold set released_at = now()",
    ),
    (
        &["H2"],
        "dunned after the payment",
        "insert into billing.dunning (invoice_id, account_id, policy, rung, state, opened_at)
        select invoice_id, account_id, 'standard 1', 0, 'retrying', now()
        from billing.invoice where state = 'paid' limit 1",
    ),
    (
        &["F1"],
        "a document of no invoice",
        "insert into billing.document (invoice_id, state, path)
        values (gen_random_uuid(), 'written', 'x')",
    ),
    (
        &["N1"],
        "a customer who was never told",
        "delete from billing.notice where notice_id = (select min(notice_id::text)::uuid
            from billing.notice)",
    ),
    (&["N1"], "a hold that nobody was told of", "delete from billing.notice where kind = 'hold'"),
    (
        &["N1"],
        "a receipt that went to another customer",
        "update billing.notice set account_id = (
            select account_id from billing.account where external_id = 'zero')
        where notice_id = (select min(notice_id::text)::uuid from billing.notice
            where kind = 'receipt')",
    ),
    (
        &["N2"],
        "a customer told twice",
        "insert into billing.notice select (jsonb_populate_record(notice, jsonb_build_object(
            'notice_id', gen_random_uuid()))).*
        from billing.notice where kind = 'hold'",
    ),
    (
        &["N2"],
        "a mail that went nowhere",
        "update billing.notice set recipient = null where kind = 'hold'",
    ),
    (
        &["P6"],
        "an unknown outcome given up silently",
        "update billing.payment set deadline = now() - interval '3 hours' where state = 'unknown'",
    ),
    (
        &["P8"],
        "a charge written down after it was sent",
        "update billing.payment set created_at = sent_at + interval '1 minute'
        where state = 'unknown'",
    ),
    (
        &["P8"],
        "a charge sent by nobody",
        "update billing.payment set sent_at = null where state = 'unknown'",
    ),
    (
        &["P9", "I8", "L7"],
        "credit that came before the charge and was ignored",
        "insert into billing.credit_use
            (credit_use_id, account_id, invoice_id, currency, amount_minor, used_at)
        select gen_random_uuid(), account_id, invoice_id, currency, 1, '2001-01-01'
        from billing.payment where state = 'declined' limit 1",
    ),
    (
        &["P9", "I8"],
        "money that came before the charge and was ignored",
        "update billing.payment set settled_at = '2001-01-01', invoice_id = (
            select invoice_id from billing.payment
            where state = 'declined' and currency = 'USD')
        where kind = 'by_hand'",
    ),
    (
        &["P11", "E3", "L5", "I8", "R1", "N1"],
        "a success that a late word moved back",
        "update billing.payment set state = 'declined' where state = 'succeeded' and kind = 'card'",
    ),
    (
        &["P11"],
        "an open payment that has ended",
        "update billing.payment set settled_at = now() where state = 'unknown'",
    ),
    (
        &["P11"],
        "an invoice that is void and counted",
        "update billing.invoice set voided_at = now() where currency = 'JPY'",
    ),
    (
        &["P12"],
        "a webhook taken in twice",
        "insert into billing.gateway_webhook (gateway, webhook_id, body, outcome)
        select 'sim', 'w1', '', 'aside' from generate_series(1, 2)",
    ),
    (
        &["P12"],
        "a webhook believed of another gateway's payment",
        "insert into billing.gateway_webhook (gateway, webhook_id, body, payment_id, outcome)
        select 'house', 'w1', '', payment_id, 'applied'
        from billing.payment where state = 'declined' limit 1",
    ),
    (
        &["P13"],
        "one charge that two payments claim",
        "update billing.payment set gateway_ref = 'ch_1' where state = 'unknown'",
    ),
    (
        &["P13", "P1"],
        "one key for two payments",
        "insert into billing.payment select payment.* from billing.payment
        where state = 'unknown'",
    ),
    (
        &["F2", "L6"],
        "credit used for another's invoice",
        "update billing.credit_use set account_id = (
            select account_id from billing.account where external_id = 'zero')",
    ),
    (
        &["P2"],
        "another customer's card charged",
        "update billing.payment set payment_method_id = (
            select payment_method_id from billing.payment where state = 'declined' limit 1)
        where state = 'unknown'",
    ),
    (
        &["P3", "L8", "E3"],
        "an unknown refund that nobody asks for",
        "update billing.refund set state = 'unknown', settled_at = null, credit_minor = null",
    ),
    (
        &["A1", "E5"],
        "a hold that nobody placed",
        "delete from outbox.event where topic = 'hold.placed'",
    ),
    (
        &["A1", "E5"],
        "an invoice that nobody said was paid",
        "delete from outbox.event where topic = 'invoice.paid'",
    ),
    (
        &["A1"],
        "a refund that nobody asked for",
        "delete from outbox.event where topic = 'refund.requested'",
    ),
    (
        &["E2", "E4"],
        "an event of a hold that was rolled back",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        values (gen_random_uuid(), 'hold.placed', 1, gen_random_uuid(), 0, 1,
            jsonb_build_object('hold_id', gen_random_uuid()), 'Ada')",
    ),
    (
        &["M4", "E4"],
        "a close that was settled twice",
        "insert into outbox.event (event_id, topic, schema_version, key, part, lane, payload, actor)
        select gen_random_uuid(), 'month_close.settled', 1, run_id, 0, 1,
            jsonb_build_object('run_id', run_id), 'Ada'
        from billing.month_close, generate_series(1, 2)",
    ),
];

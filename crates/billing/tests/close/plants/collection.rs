//! What is planted among payments, credit, dunning, holds and notices, and what must find it.

use super::table::Plant;

pub(super) const PLANTS: &[Plant] = &[
    (
        &["L5", "L3"],
        "money that never reached the books",
        "delete from billing.transfer where source_kind = 'payment'",
    ),
    (
        &["L5"],
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
        &["P5"],
        "two refunds of what was left for one",
        "insert into billing.refund select (jsonb_populate_record(refund, jsonb_build_object(
            'refund_id', gen_random_uuid(), 'state', 'sent', 'amount_minor', 1201,
            'credit_minor', null))).*
        from billing.refund",
    ),
    (
        &["P5"],
        "given back though nothing came in",
        "update billing.refund set payment_id = (
            select payment_id from billing.payment where state = 'unknown')",
    ),
    (
        &["H1"],
        "a customer held who owes nothing",
        "insert into billing.hold (hold_id, account_id, reason, cause, placed_at, announced_by)
        select gen_random_uuid(), account_id, 'delinquent', 'x', now(), gen_random_uuid()
        from billing.account where external_id = 'zero'",
    ),
    (
        &["H1"],
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
];

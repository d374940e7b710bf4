//! What each answer means, by a table.

use std::time::Duration;

use billing::gateway::RefundVerdict;
use billing::money::{Currency, Money};
use hyper::body::Bytes;
use serde_json::{Value, json};

use super::*;

const OURS: &str = "0192f3a1-0000-7000-8000-000000000001";

fn answer(status: u16, body: &Value) -> Answer {
    Answer {
        status: StatusCode::from_u16(status).unwrap(),
        retry_after: None,
        body: Bytes::from(body.to_string()),
    }
}

fn captured() -> Value {
    json!({
        "charge_id": "ch_0000000042", "reference": OURS, "status": "captured",
        "amount_minor": 1201, "currency": "USD", "refunded_minor": 0,
        "created_at": "2031-01-01T00:00:00.000Z",
    })
}

fn declined(code: &str, soft: bool) -> Value {
    let mut body = captured();
    body["status"] = json!("declined");
    body["decline_code"] = json!(code);
    body["soft"] = json!(soft);
    body
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn verdict_of_capture() -> Verdict {
    Verdict::Captured {
        gateway_ref: "ch_0000000042".to_owned(),
        money: Money::new(1201, Currency::parse("USD").unwrap()),
    }
}

fn verdict_of_decline(code: &str, is_soft: bool) -> Verdict {
    Verdict::Declined {
        gateway_ref: Some("ch_0000000042".to_owned()),
        code: code.to_owned(),
        is_soft,
    }
}

fn refusal(code: &str) -> Value {
    json!({ "error": { "code": code, "message": "why" } })
}

fn kind(result: Result<Verdict, CallError>) -> &'static str {
    match result {
        Ok(_) => "verdict",
        Err(CallError::NotSent(_)) => "not sent",
        Err(CallError::Busy { .. }) => "busy",
        Err(CallError::Unknown(_)) => "unknown",
        Err(CallError::Cancelled) => "cancelled",
        Err(CallError::Refused(_)) => "refused",
    }
}

#[test]
fn a_charge_is_a_verdict() {
    let hard = declined("do_not_honor", false);
    let soft = declined("insufficient_funds", true);
    let unknown = declined("unknown_card", false);

    let read = |status, body: &Value| charge(&answer(status, body), OURS).unwrap();

    assert_eq!(read(201, &captured()), verdict_of_capture());
    assert_eq!(read(201, &hard), verdict_of_decline("do_not_honor", false));
    assert_eq!(
        read(201, &soft),
        verdict_of_decline("insufficient_funds", true)
    );
    assert_eq!(
        read(402, &unknown),
        verdict_of_decline("unknown_card", false)
    );
}

#[test]
fn every_other_answer_says_whether_something_may_have_happened() {
    let cases = [
        // Something may have happened.
        (500, refusal("injected"), "unknown"),
        (502, json!("Bad Gateway"), "unknown"),
        (503, refusal("maintenance"), "unknown"),
        // Busy, without a word on when to come again: a box between may have said it.
        (503, refusal("busy"), "unknown"),
        (504, refusal("timeout"), "unknown"),
        (409, refusal("in_progress"), "unknown"),
        (408, json!(null), "unknown"),
        (204, json!(null), "unknown"),
        (201, json!("not a charge"), "unknown"),
        (402, json!("not a charge"), "unknown"),
        (201, with(captured(), "currency", json!("XXX")), "unknown"),
        (201, with(captured(), "amount_minor", json!(0)), "unknown"),
        (201, with(captured(), "status", json!("pending")), "unknown"),
        (
            201,
            with(captured(), "reference", json!("other")),
            "unknown",
        ),
        // Nothing has.
        (409, refusal("key_burnt"), "cancelled"),
        (429, json!(null), "busy"),
        (301, json!(null), "busy"),
        (401, json!(null), "busy"),
        (403, json!(null), "busy"),
        (404, refusal("not_found"), "busy"),
        (405, json!(null), "busy"),
        // Nothing has, and asking again cannot help.
        (400, refusal("invalid_request"), "refused"),
        (409, refusal("key_reused"), "refused"),
        (422, json!(null), "refused"),
    ];
    for (status, body, wanted) in cases {
        let got = kind(charge(&answer(status, &body), OURS));

        assert_eq!(got, wanted, "{status} {body}");
    }
}

#[test]
fn a_busy_gateway_says_when_it_wants_to_be_asked_again() {
    let after = Some(Duration::from_secs(7));
    let busy = Answer {
        retry_after: after,
        ..answer(503, &refusal("busy"))
    };

    let error = "503 Service Unavailable: busy: why".to_owned();
    assert_eq!(charge(&busy, OURS), Err(CallError::Busy { error, after }));
}

#[test]
fn a_look_up_finds_nothing_or_the_one_charge() {
    let found = |charges| look_up(&answer(200, &json!({ "charges": charges })), OURS);

    assert_eq!(found(json!([])), Ok(None));
    assert_eq!(found(json!([captured()])), Ok(Some(verdict_of_capture())));
    let Err(CallError::Refused(text)) = found(json!([captured(), captured()])) else {
        panic!("two charges passed for one");
    };
    assert_eq!(text.matches("Captured 12.01 USD").count(), 2, "{text}");
}

#[test]
fn a_cancelled_key_is_burnt_or_tells_what_it_did() {
    let told = |body: Value| cancel(&answer(200, &body), OURS);

    assert_eq!(
        told(json!({ "status": "cancelled", "charge": null })),
        Ok(Cancelled::Burnt)
    );
    assert_eq!(
        told(json!({ "status": "used", "charge": captured() })),
        Ok(Cancelled::Was(verdict_of_capture()))
    );
    let torn = told(json!({ "status": "used", "charge": null }));
    assert!(matches!(torn, Err(CallError::Unknown(_))), "{torn:?}");
}

#[test]
fn a_refund_is_given_refused_or_unknown() {
    let given = json!({
        "refund_id": "re_0000000007", "charge_id": "ch_0000000042", "reference": OURS,
        "status": "succeeded", "amount_minor": 500, "currency": "USD",
        "created_at": "2031-01-01T00:00:00.000Z",
    });
    let read = |status, body: &Value| refund::refund(&answer(status, body), OURS);

    let verdict = RefundVerdict::GivenBack {
        gateway_ref: "re_0000000007".to_owned(),
        money: Money::new(500, Currency::parse("USD").unwrap()),
    };
    assert_eq!(read(201, &given), Ok(verdict));
    for (status, code) in [(422, "refund_above_captured"), (404, "unknown_charge")] {
        let declined = read(status, &refusal(code));
        assert!(matches!(declined, Ok(RefundVerdict::Declined(_))), "{code}");
    }
    // No charge of that name, or no gateway at all: only the code tells.
    let nowhere = read(404, &refusal("not_found"));
    assert!(
        matches!(nowhere, Err(CallError::Busy { .. })),
        "{nowhere:?}"
    );
    for body in [
        with(given.clone(), "reference", json!("other")),
        with(given, "status", json!("pending")),
    ] {
        assert!(matches!(read(201, &body), Err(CallError::Unknown(_))));
    }
}

#[test]
fn money_given_back_is_negative_on_the_statement() {
    let movement = |seq, kind| {
        json!({
            "seq": seq, "at": "2031-01-01T00:00:00.000Z", "type": kind,
            "charge_id": "ch_0000000042", "reference": OURS,
            "amount_minor": 1201, "currency": "USD",
        })
    };
    let movements = [movement(1, "captured"), movement(2, "refunded")];
    let page = json!({ "movements": movements, "next_after": null });

    let read = statement(&answer(200, &page)).unwrap();

    let minor: Vec<i64> = read.iter().map(|moved| moved.money.minor()).collect();
    assert_eq!(minor, [1201, -1201]);
}

/// A table refuses the character zero, and would go on refusing it at every attempt.
#[test]
fn texts_of_the_gateway_print_and_end() {
    let code = format!("no\u{0}\n{}", "x".repeat(500));

    let read = charge(&answer(201, &declined(&code, false)), OURS).unwrap();

    let Verdict::Declined { code, .. } = read else {
        panic!("not declined");
    };
    assert!(
        code.starts_with("nox") && code.chars().count() == 200,
        "{code}"
    );
}

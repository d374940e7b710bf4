//! What a customer reads in a mail.

use insta::assert_snapshot;
use rust_decimal::Decimal;
use uuid::Uuid;

use super::*;
use crate::ids::{HoldId, InvoiceId, PaymentId};
use crate::notice::Silence;

fn eur(minor: i64) -> Money {
    Money::new(minor, Currency::parse("EUR").unwrap())
}

fn line(description: &str, minor: i64) -> FrozenLine {
    FrozenLine {
        description: description.to_owned(),
        price_code: "compute".to_owned(),
        unit: "hours".to_owned(),
        unit_price: None,
        usage_month: "2024-09-01".parse().unwrap(),
        quantity: Decimal::ONE,
        exact: Decimal::new(minor, 2),
        amount: eur(minor),
    }
}

fn invoice(customer: &str, lines: Vec<FrozenLine>) -> FrozenInvoice {
    let total = lines.iter().map(|line| line.amount.minor()).sum();
    FrozenInvoice {
        invoice_id: InvoiceId::from(Uuid::nil()),
        series: "INV".to_owned(),
        number: 1,
        external_id: "acct-17".to_owned(),
        customer_name: customer.to_owned(),
        zone: chrono_tz::America::Los_Angeles,
        month: "2024-09-01".parse().unwrap(),
        start_at: "2024-09-01T07:00:00Z".parse().unwrap(),
        end_at: "2024-10-01T07:00:00Z".parse().unwrap(),
        as_of: "2024-10-01T07:00:00Z".parse().unwrap(),
        currency: eur(0).currency(),
        subtotal: eur(total),
        tax: eur(0),
        total: eur(total),
        credit: eur(0),
        lines,
    }
}

fn standing(state: &str, credit_minor: i64) -> Standing {
    Standing {
        state: state.to_owned(),
        credit_minor,
    }
}

fn recipient() -> Recipient {
    Recipient {
        name: "Today's name".to_owned(),
        zone: "Europe/Budapest".to_owned(),
        email: Some("ada@example.com".to_owned()),
    }
}

fn payment(invoice: Option<&FrozenInvoice>) -> Payment {
    Payment {
        payment_id: PaymentId::from(Uuid::nil()),
        invoice_id: invoice.map(|invoice| invoice.invoice_id),
        currency: "EUR".to_owned(),
        amount_minor: 1000,
        settled_at: "2017-08-08T02:31:09Z".parse().unwrap(),
        captured_minor: Some(1200),
        applied_minor: Some(1000),
        decline_code: Some("do_not_honor".to_owned()),
        decline_is_soft: Some(true),
    }
}

fn hold(reason: &str) -> Hold {
    Hold {
        hold_id: HoldId::from(Uuid::nil()),
        reason: reason.to_owned(),
        placed_at: "2017-08-08T02:31:09Z".parse().unwrap(),
        released_at: None,
    }
}

fn text(fact: &Fact) -> String {
    let letter = Letter::of(fact, &recipient()).unwrap();
    format!("{}\n\n{}", letter.subject, letter.render().0)
}

/// The text with its sentences folded, for readers of this file.
fn folded(fact: &Fact) -> String {
    let mut folded = String::new();
    for line in text(fact).lines() {
        let mut column = 0;
        for word in line.split(' ') {
            if column > 0 {
                folded.push(if column + word.len() > 80 { '\n' } else { ' ' });
                column = if folded.ends_with('\n') {
                    0
                } else {
                    column + 1
                };
            }
            folded.push_str(word);
            column += word.len();
        }
        folded.push('\n');
    }
    folded
}

#[test]
fn an_invoice_says_what_is_due_and_from_which_credit() {
    let invoice = invoice(
        "Müller & Söhne",
        vec![line("Compute", 76_101), line("Disk", 50)],
    );
    let standing = standing("finalized", 1000);

    assert_snapshot!(folded(&Fact::Invoice { invoice, standing }), @r"
    Invoice INV-000001: EUR 751.51 due

    Dear Müller & Söhne,

    As of 2024-10-01 00:00:00 PDT, your invoice INV-000001 for September 2024 comes
    to EUR 761.51; EUR 10.00 of your credit was used: EUR 751.51 is due.

    Compute: EUR 761.01
    Disk: EUR 0.50
    Total: EUR 761.51
    Credit used: EUR 10.00
    Due: EUR 751.51

    If there is a card on your account, it is charged and you need do nothing.
    Otherwise pay by bank transfer and name the invoice INV-000001.
    ");
}

#[test]
fn an_invoice_below_zero_goes_to_the_credit() {
    let invoice = invoice("Ada", vec![line("Refund", -500)]);
    let standing = standing("finalized", 0);

    assert_snapshot!(folded(&Fact::Invoice { invoice, standing }), @r"
    Invoice INV-000001: EUR 5.00 goes to your credit

    Dear Ada,

    As of 2024-10-01 00:00:00 PDT, your invoice INV-000001 for September 2024 comes
    to EUR -5.00; EUR 5.00 goes to your credit.

    Refund: EUR -5.00
    Total: EUR -5.00
    ");
}

#[test]
fn of_many_lines_a_mail_shows_the_first() {
    let lines = (0..23).map(|n| line(&format!("Disk {n}"), 100)).collect();
    let fact = Fact::Invoice {
        invoice: invoice("Ada", lines),
        standing: standing("finalized", 0),
    };

    let text = text(&fact);

    assert!(text.contains("Disk 19: EUR 1.00\n3 more lines are in the document\nTotal: EUR 23.00"));
    assert!(!text.contains("Disk 20"));
}

#[test]
fn a_receipt_says_what_became_of_the_money() {
    let invoice = invoice("Ada", vec![line("Compute", 1000)]);
    let payment = payment(Some(&invoice));
    let invoice = Some(invoice);

    assert_snapshot!(folded(&Fact::Receipt { payment, invoice }), @r"
    Receipt: EUR 12.00 for invoice INV-000001

    Dear Ada,

    As of 2017-08-07 19:31:09 PDT, we have received EUR 12.00 for your invoice
    INV-000001. Thank you.

    Received: EUR 12.00
    Paid of INV-000001: EUR 10.00
    Added to your credit: EUR 2.00
    ");
}

#[test]
fn money_that_came_without_saying_what_for_is_credit() {
    let payment = Payment {
        applied_minor: Some(0),
        ..payment(None)
    };

    let invoice = None;
    assert_snapshot!(folded(&Fact::Receipt { payment, invoice }), @r"
    Receipt: EUR 12.00

    Dear Today's name,

    As of 2017-08-08 04:31:09 CEST, we have received EUR 12.00. Thank you.

    Received: EUR 12.00
    Added to your credit: EUR 12.00
    ");
}

#[test]
fn a_failed_payment_says_what_can_be_done() {
    let invoice = invoice("Ada", vec![line("Compute", 1000)]);
    let fact = |is_soft| Fact::PaymentFailed {
        payment: Payment {
            decline_is_soft: Some(is_soft),
            ..payment(Some(&invoice))
        },
        standing: standing("finalized", 0),
        invoice: invoice.clone(),
    };

    assert_snapshot!(folded(&fact(true)), @r"
    Invoice INV-000001: your payment failed

    Dear Ada,

    As of 2017-08-07 19:31:09 PDT, EUR 10.00 for your invoice INV-000001 could not be
    charged to your card.

    Not paid: EUR 10.00
    The bank's answer: do_not_honor

    We may try your card again in the next days: see that it can be charged by then,
    or put another card on your account.

    Or pay by bank transfer and name the invoice INV-000001. An account whose invoice
    stays unpaid may be put on hold.
    ");
    assert!(text(&fact(false)).contains("This card will not be charged again"));
}

#[test]
fn a_hold_says_why_and_what_can_be_done() {
    assert_snapshot!(folded(&Fact::Hold { hold: hold("delinquent") }), @r"
    Your account is on hold

    Dear Today's name,

    As of 2017-08-08 04:31:09 CEST, your account is on hold: an invoice could not be
    collected.

    Put a card on your account that can be charged, or pay by bank transfer and name
    the unpaid invoice. The hold ends when the money has come.
    ");
    for reason in ["dispute", "fraud", "manual"] {
        let text = text(&Fact::Hold { hold: hold(reason) });
        assert!(text.contains("nswer this mail"), "{text}");
    }
}

#[test]
fn a_release_is_told_unless_the_account_is_held_all_the_same() {
    let release = |held: Option<&str>, is_untold| Fact::Release {
        hold: Hold {
            released_at: Some("2017-08-09T02:31:09Z".parse().unwrap()),
            ..hold("delinquent")
        },
        held: held.map(str::to_owned),
        is_untold,
    };

    assert_snapshot!(folded(&release(None, false)), @r"
    Your account is no longer on hold

    Dear Today's name,

    As of 2017-08-09 04:31:09 CEST, your account is no longer on hold.

    You need do nothing. Thank you for your patience.
    ");
    assert_eq!(release(None, false).silence(), None);
    let overtaken = |why: &str| Some(Silence::Overtaken(why.to_owned()));
    assert_eq!(
        release(Some("fraud"), false).silence(),
        overtaken("the account is held: fraud")
    );
    assert_eq!(
        release(None, true).silence(),
        overtaken("nobody was told of the hold")
    );
}

#[test]
fn html_escapes_everything_and_plain_text_nothing() {
    let name = "<script>alert('&')</script>";
    let fact = Fact::Invoice {
        invoice: invoice(name, vec![line("<b>Disk</b> & more", 1000)]),
        standing: standing("finalized", 0),
    };

    let (text, html) = Letter::of(&fact, &recipient()).unwrap().render();

    assert!(text.contains(name) && text.contains("<b>Disk</b> & more: EUR 10.00"));
    assert!(!html.contains("<script>") && !html.contains("<b>Disk"));
    assert!(
        html.contains("Dear <bdi>&#60;script&#62;alert(&#39;&#38;&#39;)"),
        "{html}"
    );
    assert!(html.contains("&#60;b&#62;Disk&#60;/b&#62; &#38; more"));
}

#[test]
fn what_a_bank_answers_stays_on_its_line() {
    let invoice = invoice("Ada", vec![line("Compute", 1000)]);
    let payment = Payment {
        decline_code: Some("no\r\nBcc: eve@example.com".to_owned()),
        ..payment(Some(&invoice))
    };
    let standing = standing("finalized", 0);

    let text = text(&Fact::PaymentFailed {
        payment,
        invoice,
        standing,
    });

    assert!(text.contains("The bank's answer: no  Bcc: eve@example.com"));
}

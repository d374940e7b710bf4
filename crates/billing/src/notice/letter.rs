//! The letter: one set of sentences and figures, laid out twice, as HTML and as plain text.
//!
//! Both layouts are filled from the same values, so they cannot tell different things. Every value
//! goes through the escaping of HTML there and through none in the plain text.

use askama::Template;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::IntendError;
use super::facts::{Fact, Hold, Payment, Standing};
use super::store::Recipient;
use crate::account;
use crate::document::{FrozenInvoice, FrozenLine, grouped};
use crate::money::{Currency, Money};

mod advice;

/// A mail is read on a telephone; the whole invoice is in its document.
const LINES_MAX: usize = 20;

/// What a mail says.
#[derive(Debug, Default)]
pub(super) struct Letter {
    pub(super) subject: String,
    name: String,
    opening: String,
    figures: Vec<Figure>,
    advice: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    label: String,
    amount: String,
    is_sum: bool,
}

#[derive(Template)]
#[template(path = "notice_mail.html")]
struct Html<'a> {
    letter: &'a Letter,
}

#[derive(Template)]
#[template(path = "notice_mail.txt")]
struct Text<'a> {
    letter: &'a Letter,
}

impl Letter {
    /// The account lends its name and zone where nothing was frozen.
    pub(super) fn of(fact: &Fact, recipient: &Recipient) -> Result<Self, IntendError> {
        let zone = || account::parse_zone(&recipient.zone).map_err(IntendError::Zone);
        let mut letter = match fact {
            Fact::Invoice { invoice, standing } => of_invoice(invoice, standing)?,
            Fact::Receipt { payment, invoice } => {
                let zone = invoice
                    .as_ref()
                    .map_or_else(zone, |frozen| Ok(frozen.zone))?;
                of_receipt(payment, invoice.as_ref(), zone)?
            }
            Fact::PaymentFailed {
                payment, invoice, ..
            } => of_failure(payment, invoice)?,
            Fact::Hold { hold } => of_hold(hold, zone()?),
            Fact::Release { hold, .. } => of_release(hold, zone()?),
        };
        letter.name = match fact {
            Fact::Invoice { invoice, .. }
            | Fact::PaymentFailed { invoice, .. }
            | Fact::Receipt {
                invoice: Some(invoice),
                ..
            } => invoice.customer_name.clone(),
            Fact::Receipt { .. } | Fact::Hold { .. } | Fact::Release { .. } => {
                recipient.name.clone()
            }
        };
        Ok(letter)
    }

    /// Plain text, then HTML.
    pub(super) fn render(&self) -> (String, String) {
        let reason = "writing into a string cannot fail";
        let text = Text { letter: self }.render().expect(reason);
        (text, Html { letter: self }.render().expect(reason))
    }
}

fn of_invoice(invoice: &FrozenInvoice, standing: &Standing) -> Result<Letter, IntendError> {
    let (number, total) = (invoice.name(), invoice.total);
    let credit = Money::new(standing.credit_minor, invoice.currency);
    let due = total.sub(credit)?;
    let (subject, outcome) = match due.minor() {
        1.. => (
            format!("{} due", shown(due)),
            format!("{} is due", shown(due)),
        ),
        0 => (
            "paid from your credit".to_owned(),
            "nothing is due".to_owned(),
        ),
        _ => {
            let credited = shown(due.neg()?);
            let text = format!("{credited} goes to your credit");
            (text.clone(), text)
        }
    };
    let used = if credit.is_zero() {
        String::new()
    } else {
        format!("{} of your credit was used: ", shown(credit))
    };
    let mut figures = lines(invoice);
    figures.push(sum("Total", total));
    if !credit.is_zero() {
        figures.push(sum("Credit used", credit));
        figures.push(sum("Due", due));
    }
    Ok(Letter {
        subject: format!("Invoice {number}: {subject}"),
        opening: format!(
            "As of {}, your invoice {number} for {} comes to {}; {used}{outcome}.",
            as_of(invoice.as_of, invoice.zone),
            invoice.month.format("%B %Y"),
            shown(total),
        ),
        figures,
        advice: advice::of_invoice(due, &number),
        ..Letter::default()
    })
}

fn lines(invoice: &FrozenInvoice) -> Vec<Figure> {
    let is_charged = |line: &&FrozenLine| !line.amount.is_zero() || !line.exact.is_zero();
    let charged: Vec<&FrozenLine> = invoice.lines.iter().filter(is_charged).collect();
    let figure = |line: &&FrozenLine| Figure {
        label: line.description.clone(),
        amount: shown(line.amount),
        is_sum: false,
    };
    let mut figures: Vec<Figure> = charged.iter().take(LINES_MAX).map(figure).collect();
    if charged.len() > LINES_MAX {
        figures.push(Figure {
            label: format!(
                "{} more lines are in the document",
                charged.len() - LINES_MAX
            ),
            amount: String::new(),
            is_sum: false,
        });
    }
    if !invoice.tax.is_zero() {
        figures.push(Figure {
            is_sum: false,
            ..sum("Tax", invoice.tax)
        });
    }
    figures
}

fn of_receipt(
    payment: &Payment,
    invoice: Option<&FrozenInvoice>,
    zone: Tz,
) -> Result<Letter, IntendError> {
    let (Some(captured), Some(applied)) = (payment.captured_minor, payment.applied_minor) else {
        return Err(IntendError::Missing {
            what: "payment that succeeded,",
            id: payment.payment_id.into(),
        });
    };
    let currency = Currency::parse(&payment.currency)?;
    let (captured, applied) = (
        Money::new(captured, currency),
        Money::new(applied, currency),
    );
    let rest = captured.sub(applied)?;
    let number = invoice.map(FrozenInvoice::name);
    let what_for = number
        .as_ref()
        .map_or_else(String::new, |number| format!(" for your invoice {number}"));
    let mut figures = vec![sum("Received", captured)];
    if let Some(number) = &number {
        figures.push(sum(&format!("Paid of {number}"), applied));
    }
    if !rest.is_zero() {
        figures.push(sum("Added to your credit", rest));
    }
    Ok(Letter {
        subject: number.map_or_else(
            || format!("Receipt: {}", shown(captured)),
            |number| format!("Receipt: {} for invoice {number}", shown(captured)),
        ),
        opening: format!(
            "As of {}, we have received {}{what_for}. Thank you.",
            as_of(payment.settled_at, zone),
            shown(captured),
        ),
        figures,
        ..Letter::default()
    })
}

fn of_failure(payment: &Payment, invoice: &FrozenInvoice) -> Result<Letter, IntendError> {
    let number = invoice.name();
    let amount = Money::new(payment.amount_minor, Currency::parse(&payment.currency)?);
    Ok(Letter {
        subject: format!("Invoice {number}: your payment failed"),
        opening: format!(
            "As of {}, {} for your invoice {number} could not be charged to your card.",
            as_of(payment.settled_at, invoice.zone),
            shown(amount),
        ),
        figures: vec![
            sum("Not paid", amount),
            Figure {
                label: "The bank's answer".to_owned(),
                amount: crate::text::mend(payment.decline_code.as_deref().unwrap_or("none")),
                is_sum: false,
            },
        ],
        advice: advice::of_failure(payment.decline_is_soft.unwrap_or(false), &number),
        ..Letter::default()
    })
}

fn of_hold(hold: &Hold, zone: Tz) -> Letter {
    Letter {
        subject: "Your account is on hold".to_owned(),
        opening: format!(
            "As of {}, your account is on hold: {}.",
            as_of(hold.placed_at, zone),
            advice::reason(&hold.reason),
        ),
        advice: advice::of_hold(&hold.reason),
        ..Letter::default()
    }
}

fn of_release(hold: &Hold, zone: Tz) -> Letter {
    let at = hold.released_at.unwrap_or(hold.placed_at);
    Letter {
        subject: "Your account is no longer on hold".to_owned(),
        opening: format!(
            "As of {}, your account is no longer on hold.",
            as_of(at, zone)
        ),
        advice: advice::of_release(),
        ..Letter::default()
    }
}

fn sum(label: &str, amount: Money) -> Figure {
    Figure {
        label: label.to_owned(),
        amount: shown(amount),
        is_sum: true,
    }
}

fn shown(amount: Money) -> String {
    format!("{} {}", amount.currency(), grouped(&amount.decimal()))
}

fn as_of(at: DateTime<Utc>, zone: Tz) -> String {
    at.with_timezone(&zone)
        .format("%Y-%m-%d %H:%M:%S %Z")
        .to_string()
}

#[cfg(test)]
mod tests;

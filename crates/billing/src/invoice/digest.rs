//! The frozen digest: SHA-256 over a text of everything on an invoice that can never change.
//!
//! Check I5 writes the same text in SQL and compares. So every field has one spelling in both
//! worlds: instants in microseconds of the epoch, numbers without trailing zeros, and texts that a
//! person chose with their length before them, so that no text can pose as two fields.

use std::fmt::Write;

use chrono::{DateTime, Utc};
use sha2::{Digest, Sha256};

use super::{Line, Numbered, SERIES};

pub(super) fn of(invoice: &Numbered) -> [u8; 32] {
    Sha256::digest(text(invoice)).into()
}

fn text(invoice: &Numbered) -> String {
    let mut text = header(invoice);
    for (line, n) in invoice.draft.lines.iter().zip(1..) {
        write_line(&mut text, n, line).expect("writing into a string cannot fail");
    }
    text
}

fn header(invoice: &Numbered) -> String {
    let Numbered {
        draft, run, number, ..
    } = invoice;
    let header = &draft.header;
    [
        "invoice 1".to_owned(),
        uuid::Uuid::from(invoice.invoice).to_string(),
        uuid::Uuid::from(header.account).to_string(),
        header.period_seq.to_string(),
        "regular".to_owned(),
        uuid::Uuid::from(*run).to_string(),
        SERIES.to_owned(),
        number.to_string(),
        chosen(&header.external_id),
        chosen(&header.customer_name),
        chosen(&header.zone),
        header.month.to_string(),
        micros(header.start_at),
        micros(header.end_at),
        micros(invoice.as_of),
        draft.currency.to_string(),
        draft.lines.len().to_string(),
        draft.subtotal.minor().to_string(),
        draft.tax.minor().to_string(),
        draft.total.minor().to_string(),
        invoice.credit.minor().to_string(),
        micros(invoice.finalized_at),
    ]
    .join("|")
}

fn write_line(text: &mut String, n: u32, line: &Line) -> std::fmt::Result {
    let terms = &line.terms;
    write!(text, "\n{n}|{}|", uuid::Uuid::from(terms.price))?;
    for chosen in [&terms.code, &*line.description(), &terms.model, &terms.unit] {
        write!(text, "{}:{chosen}|", chosen.len())?;
    }
    match line.unit_price {
        Some(rate) => write!(text, "{rate}|")?,
        None => text.push_str("-|"),
    }
    write!(
        text,
        "{}|{}|{}|{}|{}|{}",
        line.usage_month,
        line.quantity,
        line.exact,
        line.amount.minor(),
        line.usage_events,
        line.usage_digest,
    )?;
    if let Some(served) = &line.served {
        let (from, until) = (micros(served.from), micros(served.until));
        write!(
            text,
            "|{}|{from}|{until}",
            uuid::Uuid::from(served.subscription)
        )?;
        if let Some((monthly, hours)) = served.cap {
            write!(text, "|{monthly}|{hours}")?;
        }
    }
    Ok(())
}

fn chosen(text: &str) -> String {
    format!("{}:{text}", text.len())
}

fn micros(at: DateTime<Utc>) -> String {
    at.timestamp_micros().to_string()
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use uuid::Uuid;

    use super::*;
    use std::sync::Arc;

    use crate::invoice::{Header, Held, Sum, Terms, rate};
    use crate::money::{Currency, Money};

    fn id<T: From<Uuid>>(n: u128) -> T {
        Uuid::from_u128(n).into()
    }

    fn invoice(customer_name: &str) -> Numbered {
        let month = NaiveDate::from_ymd_opt(2024, 9, 1).unwrap();
        let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let header = Header {
            account: id(1),
            external_id: "4711".to_owned(),
            customer_name: customer_name.to_owned(),
            currency: "USD".to_owned(),
            zone: "Europe/Budapest".to_owned(),
            period_seq: 0,
            month,
            start_at: at("2024-08-31T22:00:00Z"),
            end_at: at("2024-09-30T22:00:00Z"),
        };
        let terms = Terms {
            price: id(2),
            code: "vm".to_owned(),
            description: "Small machine".to_owned(),
            model: "per_unit".to_owned(),
            currency: "USD".to_owned(),
            unit: "h".to_owned(),
            unit_price: Some("0.10".to_owned()),
            monthly_price: None,
            cap_hours: None,
        };
        let server = Held {
            terms: Arc::new(Terms {
                price: id(6),
                code: "vps".to_owned(),
                model: "hourly_capped".to_owned(),
                unit_price: Some("0.00744".to_owned()),
                monthly_price: Some("5.00".to_owned()),
                cap_hours: Some(672),
                ..terms.clone()
            }),
            subscription: id(7),
            name: "web-1".to_owned(),
            quantity: "1".to_owned(),
            start_at: at("2024-08-30T00:00:00Z"),
            end_at: Some(at("2024-09-02T22:00:00Z")),
        };
        let sum = Sum {
            terms: Arc::new(terms),
            usage_month: month,
            quantity: "12.50".to_owned(),
            amount: "0".to_owned(),
            events: 3,
            digest: -9,
        };
        Numbered {
            invoice: id(3),
            event: id(4),
            number: 1,
            run: id(5),
            as_of: at("2024-10-01T00:00:00Z"),
            finalized_at: at("2024-10-02T00:00:00.000001Z"),
            credit: Money::new(25, Currency::parse("USD").unwrap()),
            draft: rate(header, vec![sum], vec![server]).unwrap(),
        }
    }

    #[test]
    fn the_frozen_text_is_spelled_for_ever() {
        let expected = "invoice 1|00000000-0000-0000-0000-000000000003\
            |00000000-0000-0000-0000-000000000001|0|regular\
            |00000000-0000-0000-0000-000000000005|INV|1|4:4711|12:Žižka & Co\
            |15:Europe/Budapest|2024-09-01|1725141600000000|1727733600000000|1727740800000000\
            |USD|2|161|0|161|25|1727827200000001\n\
            1|00000000-0000-0000-0000-000000000002|2:vm|13:Small machine|8:per_unit|1:h|0.1\
            |2024-09-01|12.5|1.25|125|3|-9\n\
            2|00000000-0000-0000-0000-000000000006|3:vps|20:Small machine, web-1|13:hourly_capped\
            |1:h|0.00744|2024-09-01|48|0.35712|36|0|0|00000000-0000-0000-0000-000000000007\
            |1725141600000000|1725314400000000|5|672";
        assert_eq!(text(&invoice("Žižka & Co")), expected);
    }

    #[test]
    fn no_customer_can_pose_as_two_fields() {
        let (plain, posing) = (invoice("A"), invoice("A|15:Europe/Budapest"));

        assert_ne!(of(&plain), of(&posing));
    }
}

//! The lines of subscriptions.
//!
//! Flat: the month's price, less by civil days where the subscription began or ended in between.
//! Each part of a month is the difference of two amounts, each rounded, so that all parts together
//! cost what the month costs. Hourly with a cap: begun hours, counted from the subscription's
//! start; an hour belongs to the period in which it begins, so months add up.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::{RatingError, decimal, lost, product, same_currency, unit_price, unknown};
use crate::invoice::line::Served;
use crate::invoice::{Header, Held, Line, Terms};
use crate::money::{Currency, Money, MoneyError, exact_mul};

const HOUR_MICROS: i64 = 3_600_000_000;

/// A period, as subscriptions are measured against it.
pub(super) struct Span<'a> {
    header: &'a Header,
    zone: Tz,
}

impl<'a> Span<'a> {
    pub(super) fn new(header: &'a Header, zone: Tz) -> Self {
        Self { header, zone }
    }

    /// The civil days from the period's start to an instant, the day of the instant left out.
    fn days_to(&self, at: DateTime<Utc>) -> i64 {
        let date = |at: DateTime<Utc>| at.with_timezone(&self.zone).date_naive();
        (date(at) - date(self.header.start_at)).num_days()
    }
}

/// The part of a period for which a subscription is billed.
struct Part {
    from: DateTime<Utc>,
    until: DateTime<Utc>,
}

/// What a line comes to.
struct Priced {
    quantity: Decimal,
    exact: Decimal,
    /// What part of the month it is, where it is one.
    remark: String,
    cap: Option<(Decimal, i32)>,
}

/// The line of a subscription; none where it had no day or hour of the period.
pub(super) fn line(
    held: &Held,
    span: &Span<'_>,
    currency: Currency,
) -> Result<Option<Line>, RatingError> {
    let (terms, header) = (&held.terms, span.header);
    same_currency(terms, currency)?;
    let part = Part {
        from: held.start_at.max(header.start_at),
        until: held
            .end_at
            .map_or(header.end_at, |end| end.min(header.end_at)),
    };
    let rate = unit_price(terms)?.ok_or_else(|| RatingError::NoRate(terms.code.clone()))?;
    let priced = match terms.model.as_str() {
        "flat" => flat(held, span, &part, (rate, currency))?,
        "hourly_capped" => hourly(held, header, (rate, currency))?,
        _ => return Err(unknown(terms)),
    };
    let Some(priced) = priced else {
        return Ok(None);
    };
    let amount = Money::round(priced.exact, currency)
        .map_err(|err| lost(terms, product(priced.quantity, rate), err))?;
    Ok(Some(Line {
        unit_price: Some(rate),
        served: Some(Served {
            subscription: held.subscription,
            says: held.name.clone() + &priced.remark,
            from: part.from,
            until: part.until,
            cap: priced.cap,
        }),
        usage_month: header.month,
        quantity: priced.quantity,
        exact: priced.exact,
        amount,
        usage_events: 0,
        usage_digest: 0,
        terms: terms.clone(),
    }))
}

fn flat(
    held: &Held,
    span: &Span<'_>,
    part: &Part,
    (rate, currency): (Decimal, Currency),
) -> Result<Option<Priced>, RatingError> {
    let terms = &held.terms;
    let quantity = decimal(&held.quantity, terms)?;
    let broken = |err| lost(terms, product(quantity, rate), err);
    let month = exact_mul(rate, quantity).map_err(broken)?;
    let (from, until) = (span.days_to(part.from), span.days_to(part.until));
    let days = span.days_to(span.header.end_at);
    if until <= from {
        return Ok(None);
    }
    let (exact, remark) = match (from, until) == (0, days) {
        true => (month, String::new()),
        false => {
            let weights = [from, until - from, days - until].map(i64::unsigned_abs);
            let parts = Money::round(month, currency).and_then(|month| month.split(&weights));
            let part = parts.map_err(broken)?[1];
            (part.exact(), format!(", {} of {days} days", until - from))
        }
    };
    Ok(Some(Priced {
        quantity,
        exact,
        remark,
        cap: None,
    }))
}

fn hourly(
    held: &Held,
    header: &Header,
    (rate, currency): (Decimal, Currency),
) -> Result<Option<Priced>, RatingError> {
    let terms = &held.terms;
    if decimal(&held.quantity, terms)? != Decimal::ONE {
        return Err(RatingError::NotOne(terms.code.clone()));
    }
    let (monthly, cap_hours) = cap(terms)?;
    let hours = begun_hours(held, header.end_at) - begun_hours(held, header.start_at);
    if hours <= 0 {
        return Ok(None);
    }
    let broken = |err| lost(terms, product(hours, rate), err);
    let by_hour = exact_mul(rate, hours.into()).map_err(broken)?;
    let is_dearer = || -> Result<bool, MoneyError> {
        let month = Money::round(monthly, currency)?;
        Ok(Money::round(by_hour, currency)?.minor() > month.minor())
    };
    let is_capped = hours >= i64::from(cap_hours) || is_dearer().map_err(broken)?;
    let (exact, remark) = match is_capped {
        true => (monthly, ", at the price of a month"),
        false => (by_hour, ""),
    };
    Ok(Some(Priced {
        quantity: hours.into(),
        exact,
        remark: remark.to_owned(),
        cap: Some((monthly, cap_hours)),
    }))
}

fn cap(terms: &Terms) -> Result<(Decimal, i32), RatingError> {
    let cap = terms.monthly_price.as_deref().zip(terms.cap_hours);
    let (monthly, hours) = cap.ok_or_else(|| RatingError::NoCap(terms.code.clone()))?;
    Ok((decimal(monthly, terms)?, hours))
}

/// How many hours of a subscription have begun before an instant.
fn begun_hours(held: &Held, at: DateTime<Utc>) -> i64 {
    let until = held.end_at.map_or(at, |end| end.min(at));
    let lived = until.timestamp_micros() - held.start_at.timestamp_micros();
    let whole = lived.max(0) / HOUR_MICROS;
    whole + i64::from(lived.max(0) % HOUR_MICROS > 0)
}

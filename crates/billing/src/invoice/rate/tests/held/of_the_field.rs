//! Parts of a period as other billing systems charge them.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Case {
    id: String,
    input: Input,
    expected: Expected,
}

#[derive(Deserialize)]
struct Input {
    price: String,
    window: [NaiveDate; 2],
    period: [NaiveDate; 2],
    #[serde(default)]
    timezone: Option<String>,
}

#[derive(Deserialize)]
struct Expected {
    amount: String,
    billed_days: i64,
    period_days: i64,
}

/// Parts that end in half a cent: rounded each by itself, this and the part before would cost a
/// cent more than the period does. Theirs and ours.
const HALVES: [(&str, &str, &str); 2] = [
    ("killbill-resume", "224.96", "224.95"),
    ("killbill-bcd-update-addon", "200.00", "199.99"),
];

#[test]
fn parts_of_a_period_cost_what_the_field_makes_them() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../prorated.json")).unwrap();
    for case in cases {
        let zone = case.input.timezone.as_deref().unwrap_or("UTC");
        let begins = |date: NaiveDate| start_of(date, zone.parse().unwrap());
        let [start_at, end_at] = case.input.period.map(begins);
        let header = Header {
            zone: zone.to_owned(),
            start_at,
            end_at,
            ..header("USD")
        };
        let [from, gone] = case.input.window.map(begins);
        let plan = until(gone, flat(&case.input.price, &from.to_rfc3339()));

        let lines = lines(&header, vec![plan]);

        let theirs = case.expected.amount.as_str();
        let is_half = |(id, amount, _): &&(&str, &str, &str)| *id == case.id && *amount == theirs;
        let expected = HALVES
            .iter()
            .find(is_half)
            .map_or(theirs, |(.., ours)| ours);
        assert_eq!(lines[0].amount.decimal(), expected, "{}", case.id);
        let Expected {
            billed_days,
            period_days,
            ..
        } = case.expected;
        let days = format!(", {billed_days} of {period_days} days");
        assert!(
            lines[0].description().ends_with(&days),
            "{}: {}",
            case.id,
            lines[0].description()
        );
    }
}

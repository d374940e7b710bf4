//! Parts add up to the whole, whatever the parts.

use super::*;

/// An instant of March or the days around it, in New York.
fn instants() -> impl Strategy<Value = DateTime<Utc>> {
    (-40_i64 * 86_400..80 * 86_400)
        .prop_map(|seconds| march().start_at + Duration::seconds(seconds))
}

proptest! {
    #[test]
    fn the_parts_of_a_month_cost_what_the_month_costs(
        minor in 0_i64..10_000_000,
        mut cuts in proptest::collection::vec(instants(), 0..6),
    ) {
        let price = Decimal::new(minor, 2).to_string();
        cuts.sort();
        let starts = [at("2020-01-01T00:00:00Z")].into_iter().chain(cuts.iter().copied());
        let ends = cuts.iter().copied().map(Some).chain([None]);
        let parts = starts.zip(ends).map(|(start, end_at)| Held {
            end_at,
            ..flat(&price, &start.to_rfc3339())
        });
        // One that would be empty is no subscription.
        let parts = parts.filter(|part| part.end_at != Some(part.start_at));

        let draft = rate(march(), vec![], parts.collect()).unwrap();

        prop_assert_eq!(draft.total.minor(), minor);
    }

    #[test]
    fn the_hours_of_all_months_are_the_hours_of_a_life(
        start in instants(),
        micros in 1_i64..1 << 46,
    ) {
        let gone = start + Duration::microseconds(micros);
        let server = || until(gone, Held { start_at: start, ..server("2026-01-01T00:00:00Z") });
        let first: NaiveDate = "2025-12-01".parse().unwrap();

        let mut hours = Decimal::ZERO;
        for nth in 0..40 {
            let header = period(first + Months::new(nth), "USD");
            for line in lines(&header, vec![server()]) {
                prop_assert!(line.amount.minor() <= 5_00);
                hours += line.quantity;
            }
        }

        prop_assert_eq!(hours, Decimal::from((micros + 3_599_999_999) / 3_600_000_000));
    }
}

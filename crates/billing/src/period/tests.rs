//! Months of all zones, and chains of periods.

use super::*;

fn day(date: &str) -> NaiveDate {
    date.parse().unwrap()
}

fn instant(at: &str) -> DateTime<Utc> {
    at.parse().unwrap()
}

#[test]
fn a_month_begins_at_local_midnight() {
    let begins = |date, zone: &str| start_of(day(date), zone.parse().unwrap());

    assert_eq!(begins("2024-09-01", "UTC"), instant("2024-09-01T00:00:00Z"));
    assert_eq!(
        begins("2024-09-01", "Europe/Budapest"),
        instant("2024-08-31T22:00:00Z")
    );
    assert_eq!(
        begins("2024-12-01", "America/New_York"),
        instant("2024-12-01T05:00:00Z")
    );
    assert_eq!(
        begins("2024-12-01", "Asia/Kathmandu"),
        instant("2024-11-30T18:15:00Z")
    );
}

#[test]
fn a_month_whose_midnight_was_skipped_begins_with_the_first_instant_there_is() {
    // Clocks went from 00:00 to 01:00 on the first of October 2017.
    let asuncion: Tz = "America/Asuncion".parse().unwrap();

    let start = start_of(day("2017-10-01"), asuncion);

    assert_eq!(start, instant("2017-10-01T04:00:00Z"));
    assert_eq!(
        start.with_timezone(&asuncion).to_string(),
        "2017-10-01 01:00:00 -03"
    );
}

#[test]
fn in_every_zone_the_instant_before_a_month_belongs_to_the_month_before() {
    for zone in chrono_tz::TZ_VARIANTS {
        for nth in 0..12 * 30 {
            let month = day("2010-01-01") + Months::new(nth);
            let start = start_of(month, zone);
            let local = start.with_timezone(&zone).date_naive();
            let before = (start - Duration::seconds(1))
                .with_timezone(&zone)
                .date_naive();
            assert_eq!(local, month, "{zone}");
            assert_eq!(before, month.pred_opt().unwrap(), "{zone}");
        }
    }
}

fn chain() -> Chain {
    Chain::new(AccountId::new(), Tz::Europe__Budapest)
}

fn months(periods: &[Period]) -> Vec<String> {
    periods
        .iter()
        .map(|period| format!("{} {}", period.seq, period.month))
        .collect()
}

#[test]
fn the_first_period_is_the_month_of_the_first_usage() {
    let mut new = Vec::new();

    chain().reach(day("2024-09-01"), &mut new).unwrap();

    assert_eq!(months(&new), ["0 2024-09-01"]);
    assert_eq!(new[0].start_at, instant("2024-08-31T22:00:00Z"));
    assert_eq!(new[0].end_at, instant("2024-09-30T22:00:00Z"));
}

#[test]
fn later_usage_adds_the_months_between() {
    let (mut chain, mut new) = (chain(), Vec::new());

    chain.reach(day("2024-09-01"), &mut new).unwrap();
    chain.reach(day("2024-12-01"), &mut new).unwrap();
    chain.reach(day("2024-12-01"), &mut new).unwrap();

    assert_eq!(
        months(&new),
        [
            "0 2024-09-01",
            "1 2024-10-01",
            "2 2024-11-01",
            "3 2024-12-01"
        ]
    );
    for pair in new.windows(2) {
        assert_eq!(pair[0].end_at, pair[1].start_at);
        assert_eq!(pair[0].end_at, pair[1].start_at);
    }
}

#[test]
fn usage_of_a_closed_month_opens_the_one_after_the_last() {
    let (mut chain, mut new) = (chain(), Vec::new());
    chain.reach(day("2024-09-01"), &mut new).unwrap();
    chain.grown = false;
    new.clear();

    chain.reach(day("2024-07-01"), &mut new).unwrap();
    chain.reach(day("2024-09-01"), &mut new).unwrap();

    assert_eq!(months(&new), ["1 2024-10-01"]);
}

#[test]
fn a_new_zone_takes_effect_at_the_next_boundary() {
    let (mut chain, mut new) = (chain(), Vec::new());
    chain.reach(day("2024-09-01"), &mut new).unwrap();

    chain.zone = Tz::America__New_York;
    chain.reach(day("2024-10-01"), &mut new).unwrap();

    assert_eq!(new[1].start_at, instant("2024-09-30T22:00:00Z"));
    assert_eq!(new[1].end_at, instant("2024-11-01T04:00:00Z"));
}

#[test]
fn a_mistyped_year_is_an_error() {
    let (mut chain, mut new) = (chain(), Vec::new());
    chain.reach(day("2024-09-01"), &mut new).unwrap();

    let refused = chain.reach(day("2124-09-01"), &mut new);

    assert!(
        matches!(refused, Err(PeriodError::TooFar { .. })),
        "{refused:?}"
    );
    assert!(!is_month(day("0202-09-01")) && !is_month(day("2024-09-02")));
}

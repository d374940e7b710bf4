//! A place in the log, as a person writes it.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;
use outbox::LogPoint;
use outbox::operation::Start;

/// A place in the log.
#[derive(Debug, Args)]
pub(crate) struct Place {
    /// From this tick on, or from this event on, as `tail` shows its place
    #[arg(long, value_name = "TICK[/ID]", conflicts_with = "since", value_parser = tick_or_point)]
    from: Option<Start>,
    /// What was appended since this instant, such as `2026-11-01T00:00:00Z` or `2026-11-01`
    #[arg(long, value_name = "INSTANT", value_parser = instant)]
    since: Option<DateTime<Utc>>,
}

impl Place {
    pub(crate) fn start(&self) -> Option<Start> {
        self.from.or(self.since.map(Start::Since))
    }
}

fn tick_or_point(text: &str) -> Result<Start, String> {
    let number = |text: &str| {
        let number = text.parse().ok().filter(|number| *number >= 0);
        number.ok_or_else(|| format!("{text:?} is none of the log's numbers, such as 12 or 12/340"))
    };
    Ok(match text.split_once('/') {
        None => Start::Tick(number(text)?),
        Some((tick, id)) => Start::Point(LogPoint {
            tick: number(tick)?,
            id: number(id)?,
        }),
    })
}

/// An instant, or the beginning of a day in UTC.
pub(crate) fn instant(text: &str) -> Result<DateTime<Utc>, String> {
    let day = || text.parse::<NaiveDate>().ok();
    let midnight = || day().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let instant = text.parse().ok().or_else(midnight);
    instant.ok_or_else(|| {
        "write an instant as 2026-11-01T12:30:00Z or 2026-11-01T12:30:00+02:00, or a day, which \
         begins in UTC, as 2026-11-01"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_is_one_with_its_zone_or_a_day() {
        let day: DateTime<Utc> = "2026-11-01T00:00:00Z".parse().unwrap();
        assert_eq!(instant("2026-11-01"), Ok(day));
        assert_eq!(instant("2026-11-01T01:00:00+01:00"), Ok(day));
        for text in ["", "yesterday", "2026-11-01T00:00:00", "2026-13-01"] {
            assert!(instant(text).unwrap_err().contains("as 2026-11-01"));
        }
    }
}

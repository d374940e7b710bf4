//! Words of the paths and queries: pages, months, ids. A list comes in pieces, each naming where
//! the next one begins.

use chrono::NaiveDate;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::problem::Problem;

/// Larger pages hold a connection long and are read by nobody.
const LIMIT_MAX: u32 = 200;
const LIMIT_DEFAULT: u32 = 50;

/// How many are wanted at once.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u32")]
pub(crate) struct Limit(u32);

impl Default for Limit {
    fn default() -> Self {
        Self(LIMIT_DEFAULT)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(limit: u32) -> Result<Self, String> {
        match limit {
            1..=LIMIT_MAX => Ok(Self(limit)),
            _ => Err(format!("a page has 1 to {LIMIT_MAX} entries")),
        }
    }
}

impl Limit {
    /// One more than wanted: it shows whether another page follows.
    pub(crate) fn and_one_more(self) -> u32 {
        self.0 + 1
    }
}

/// Which piece of a list is wanted.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Piece<T> {
    #[serde(default)]
    pub(crate) limit: Limit,
    pub(crate) after: Option<T>,
}

/// A piece of a list.
#[derive(Debug, Serialize)]
pub(crate) struct Page<T> {
    items: Vec<T>,
    /// What to pass as `after` for the next piece; null after the last.
    next: Option<String>,
}

impl<T> Page<T> {
    /// Of what was found when one more than wanted was asked for.
    pub(crate) fn of(mut found: Vec<T>, limit: Limit, place: impl Fn(&T) -> String) -> Self {
        let wanted = limit.0 as usize;
        let more = found.len() > wanted;
        found.truncate(wanted);
        let next = found.last().filter(|_| more).map(place);
        Self { items: found, next }
    }
}

/// A month, such as `2024-09`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Month(pub(crate) NaiveDate);

impl TryFrom<String> for Month {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        let well_formed = text.len() == 7 && text.starts_with(|c: char| c.is_ascii_digit());
        NaiveDate::parse_from_str(&format!("{text}-01"), "%Y-%m-%d")
            .ok()
            .filter(|_| well_formed)
            .map(Self)
            .ok_or("a month looks like 2024-09")
    }
}

/// An id, bare or as people see it: `acc_…`.
pub(crate) fn id(text: &str, prefix: &str) -> Option<Uuid> {
    Uuid::try_parse(text.strip_prefix(prefix).unwrap_or(text)).ok()
}

/// The id that a client chose in a field, if it did.
pub(crate) fn chosen(
    field: &str,
    text: Option<&str>,
    prefix: &str,
) -> Result<Option<Uuid>, Problem> {
    let refused = || Problem::invalid(field, "The id must be a UUID.");
    text.map(|text| id(text, prefix).ok_or_else(refused))
        .transpose()
}

/// A month as it is read and written here.
pub(crate) fn written_month(first_day: NaiveDate) -> String {
    first_day.format("%Y-%m").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(found: u32, limit: u32) -> Page<u32> {
        let limit = Limit::try_from(limit).unwrap();
        Page::of((1..=found).collect(), limit, u32::to_string)
    }

    #[test]
    fn the_next_page_begins_after_the_last_entry() {
        assert_eq!(page(3, 2).items, [1, 2]);
        assert_eq!(page(3, 2).next.as_deref(), Some("2"));
        assert_eq!(page(2, 2).next, None);
        assert_eq!(page(0, 2).next, None);
    }

    #[test]
    fn a_month_is_four_digits_and_two() {
        let month = |text: &str| Month::try_from(text.to_owned()).map(|month| month.0);

        assert_eq!(
            month("2024-09"),
            Ok(NaiveDate::from_ymd_opt(2024, 9, 1).unwrap())
        );
        for wrong in [
            "2024-13",
            "2024-9",
            "24-09",
            "2024-09-01",
            "+024-09",
            "2024-9\0",
            "",
        ] {
            assert!(month(wrong).is_err(), "{wrong:?}");
        }
    }
}

//! The table: a month's figures as plain aligned text, for a terminal or a mail.

use chrono::NaiveDate;

use super::Figures;
use crate::document::grouped;

const HEAD: [&str; 7] = [
    "Currency", "Invoices", "Zero", "Paid", "Open", "Lines", "Invoiced",
];
const GAP: usize = 3;

/// The figures of a month, a line per currency; ends with a line break.
#[must_use]
pub fn table(month: NaiveDate, figures: &[Figures]) -> String {
    let title = format!("Collection report for {}\n\n", month.format("%B %Y"));
    if figures.is_empty() {
        return title + "No invoice of this month is counted yet.\n";
    }
    let head = HEAD.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(figures.iter().map(cells))
        .collect();
    rows.iter()
        .map(|row| aligned(row, &rows))
        .fold(title, |text, line| text + &line + "\n")
}

fn cells(figures: &Figures) -> [String; HEAD.len()] {
    let count = |number: i64| grouped(&number.to_string());
    [
        figures.invoiced.currency().code().to_owned(),
        count(figures.invoices),
        count(figures.zero),
        count(figures.paid),
        count(figures.open),
        count(figures.lines),
        grouped(&figures.invoiced.decimal()),
    ]
}

/// The first column from the left, the figures from the right.
fn aligned(row: &[String; HEAD.len()], rows: &[[String; HEAD.len()]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or(0);
    let first = format!("{:width$}", row[0], width = width(0));
    let figures = row.iter().enumerate().skip(1);
    figures.fold(first, |line, (column, cell)| {
        line + &format!("{cell:>width$}", width = GAP + width(column))
    })
}

#[cfg(test)]
mod tests {
    use insta::assert_snapshot;

    use super::*;
    use crate::money::{Currency, Money};

    fn figures(code: &str, minor: i64) -> Figures {
        let invoiced = Money::new(minor, Currency::parse(code).unwrap());
        Figures {
            invoices: 12_345,
            zero: 45,
            paid: 45,
            open: 12_300,
            lines: 1_234_567,
            invoiced,
        }
    }

    #[test]
    fn figures_stand_below_each_other() {
        let month = NaiveDate::from_ymd_opt(2024, 9, 1).unwrap();
        let rows = [
            figures("EUR", 123_456_789),
            figures("JPY", 2565),
            figures("KWD", -1235),
        ];

        assert_snapshot!(table(month, &rows), @r"
        Collection report for September 2024

        Currency   Invoices   Zero   Paid     Open       Lines       Invoiced
        EUR          12,345     45     45   12,300   1,234,567   1,234,567.89
        JPY          12,345     45     45   12,300   1,234,567          2,565
        KWD          12,345     45     45   12,300   1,234,567         -1.235
        ");
    }

    #[test]
    fn a_month_without_invoices_says_so() {
        let month = NaiveDate::from_ymd_opt(2024, 9, 1).unwrap();

        assert_snapshot!(table(month, &[]), @r"
        Collection report for September 2024

        No invoice of this month is counted yet.
        ");
    }
}

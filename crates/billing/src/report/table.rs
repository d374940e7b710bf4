//! The table: a month's figures as plain aligned text, for a terminal or a mail.

use chrono::NaiveDate;

use super::{Figures, Open, Standing};
use crate::document::grouped;

const HEAD: [&str; 8] = [
    "Currency",
    "Invoices",
    "Zero",
    "Paid",
    "Open",
    "Invoiced",
    "Credit",
    "Collected",
];
const OPEN_HEAD: [&str; 4] = ["Open", "Currency", "Invoices", "Due"];
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
        grouped(&figures.invoiced.decimal()),
        grouped(&figures.credit.decimal()),
        grouped(&figures.collected.decimal()),
    ]
}

/// Why invoices of a month are open, a line per reason and currency; nothing when none is.
#[must_use]
pub fn open_table(open: &[Open]) -> String {
    if open.is_empty() {
        return String::new();
    }
    let head = OPEN_HEAD.map(str::to_owned);
    let rows: Vec<_> = std::iter::once(head)
        .chain(open.iter().map(open_cells))
        .collect();
    rows.iter().map(|row| aligned(row, &rows) + "\n").collect()
}

fn open_cells(open: &Open) -> [String; OPEN_HEAD.len()] {
    let why = match open.standing {
        Standing::Declined => "declined",
        Standing::NoMethod => "no payment method",
        Standing::Partly => "paid in part",
        Standing::UnderWay => "payment under way",
        Standing::Unknown => "outcome unknown",
        Standing::Waiting => "to be charged",
    };
    [
        why.to_owned(),
        open.due.currency().code().to_owned(),
        grouped(&open.invoices.to_string()),
        grouped(&open.due.decimal()),
    ]
}

/// The first column from the left, the figures from the right.
fn aligned<const N: usize>(row: &[String; N], rows: &[[String; N]]) -> String {
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
        let money = |minor| Money::new(minor, Currency::parse(code).unwrap());
        Figures {
            invoices: 12_345,
            zero: 45,
            paid: 45,
            open: 12_300,
            lines: 1_234_567,
            invoiced: money(minor),
            credit: money(0),
            collected: money(1_000),
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

        Currency   Invoices   Zero   Paid     Open       Invoiced   Credit   Collected
        EUR          12,345     45     45   12,300   1,234,567.89     0.00       10.00
        JPY          12,345     45     45   12,300          2,565        0       1,000
        KWD          12,345     45     45   12,300         -1.235    0.000       1.000
        ");
    }

    #[test]
    fn what_is_open_says_why() {
        let due = Money::new(123_456, Currency::parse("EUR").unwrap());
        let open = |standing, invoices| Open {
            standing,
            invoices,
            due,
        };
        let rows = [open(Standing::Declined, 3), open(Standing::NoMethod, 1_200)];

        assert_snapshot!(open_table(&rows), @r"
        Open                Currency   Invoices        Due
        declined                 EUR          3   1,234.56
        no payment method        EUR      1,200   1,234.56
        ");
        assert_eq!(open_table(&[]), "");
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

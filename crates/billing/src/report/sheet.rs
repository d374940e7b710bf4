//! The sheet: a month's invoices as CSV (RFC 4180) for a spreadsheet.
//!
//! Numbers stay numbers, in major units with a point. A text that a spreadsheet would take for a
//! formula gets an apostrophe before it: a customer chooses their own name, and it must not run on
//! the desk of whoever opens the file.

use std::io::{self, Write};
use std::path::Path;

use futures::{Stream, TryStreamExt};

use super::{Entry, Outcome, ReportError};
use crate::document::WholeFile;
use crate::money::Money;

const HEAD: [&str; 12] = [
    "invoice",
    "account",
    "customer",
    "currency",
    "total",
    "settled",
    "due",
    "state",
    "payment",
    "held",
    "lines",
    "exception",
];

/// What a spreadsheet takes for the beginning of a formula, or skips on its way to one.
const FORMULA: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\0'];

/// Why the sheet was not written. The file is then as it was before.
#[derive(Debug, thiserror::Error)]
pub enum SheetError {
    /// The rows could not be read.
    #[error("could not read the invoices")]
    Rows(#[from] ReportError),
    /// The file could not be written.
    #[error("could not write the sheet; is its folder there, writable and not full?")]
    File(#[from] io::Error),
}

impl From<csv::Error> for SheetError {
    fn from(error: csv::Error) -> Self {
        Self::File(error.into())
    }
}

/// Writes the entries to the file, in place of what it held, and says how many they were. Several
/// may do so at once, as closes of one month do.
///
/// # Errors
/// [`SheetError`].
pub async fn write_csv(
    entries: impl Stream<Item = Result<Entry, ReportError>>,
    target: &Path,
) -> Result<u64, SheetError> {
    let file = WholeFile::create(target)?;
    file.clear_old_leftovers()?;
    let mut sheet = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(file);
    let count = write_entries(entries, &mut sheet).await?;
    let file = sheet
        .into_inner()
        .map_err(|error| SheetError::File(error.into_error()))?;
    file.finish()?;
    Ok(count)
}

async fn write_entries(
    entries: impl Stream<Item = Result<Entry, ReportError>>,
    sheet: &mut csv::Writer<impl Write>,
) -> Result<u64, SheetError> {
    sheet.write_record(HEAD)?;
    let mut entries = std::pin::pin!(entries);
    let mut count = 0;
    while let Some(entry) = entries.try_next().await? {
        sheet.write_record(cells(&entry))?;
        count += 1;
    }
    Ok(count)
}

fn cells(entry: &Entry) -> [String; HEAD.len()] {
    let (account, name) = (text(&entry.external_id), text(&entry.name));
    match &entry.outcome {
        Outcome::Invoice {
            number,
            total,
            settled,
            payment,
            is_held,
            state,
            lines,
        } => [
            text(number),
            account,
            name,
            total.currency().to_string(),
            total.decimal(),
            settled.decimal(),
            due(*total, *settled, state),
            state.clone(),
            text(payment.as_deref().unwrap_or_default()),
            if *is_held { "held" } else { "" }.to_owned(),
            lines.to_string(),
            String::new(),
        ],
        Outcome::Exception { currency, reason } => [
            String::new(),
            account,
            name,
            currency.to_string(),
            String::new(),
            String::new(),
            String::new(),
            "exception".to_owned(),
            String::new(),
            String::new(),
            String::new(),
            text(reason),
        ],
    }
}

/// Nothing is due on an invoice that is not open.
fn due(total: Money, settled: Money, state: &str) -> String {
    let zero = Money::zero(total.currency());
    let due = match state {
        "finalized" => total.sub(settled).unwrap_or(zero),
        _ => zero,
    };
    due.decimal()
}

fn text(cell: &str) -> String {
    if cell.starts_with(FORMULA) {
        format!("'{cell}")
    } else {
        cell.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use futures::stream;
    use insta::assert_snapshot;

    use super::*;
    use crate::money::Currency;

    fn invoice(name: &str, minor: i64) -> Entry {
        let total = Money::new(minor, Currency::parse("EUR").unwrap());
        let (number, state) = ("INV-000001".to_owned(), "finalized".to_owned());
        Entry {
            external_id: "acct-1".to_owned(),
            name: name.to_owned(),
            outcome: Outcome::Invoice {
                number,
                total,
                settled: Money::zero(total.currency()),
                payment: Some("succeeded".to_owned()),
                is_held: true,
                state,
                lines: 2,
            },
        }
    }

    fn exception(reason: &str) -> Entry {
        let currency = Currency::parse("USD").unwrap();
        Entry {
            external_id: "acct-2".to_owned(),
            name: "Acme".to_owned(),
            outcome: Outcome::Exception {
                currency,
                reason: reason.to_owned(),
            },
        }
    }

    #[tokio::test]
    async fn a_sheet_reads_like_this() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("2024-09.csv");
        let entries = [
            invoice("A, \"B\"", 123_456_789),
            invoice("=cmd|' /C calc'!A0", -5),
            exception("-1 is no quantity"),
        ];

        let count = write_csv(stream::iter(entries.map(Ok)), &target)
            .await
            .unwrap();

        assert_eq!(count, 3);
        assert_snapshot!(std::fs::read_to_string(&target).unwrap(), @r#"
        invoice,account,customer,currency,total,settled,due,state,payment,held,lines,exception
        INV-000001,acct-1,"A, ""B""",EUR,1234567.89,0.00,1234567.89,finalized,succeeded,held,2,
        INV-000001,acct-1,'=cmd|' /C calc'!A0,EUR,-0.05,0.00,-0.05,finalized,succeeded,held,2,
        ,acct-2,Acme,USD,,,,exception,,,,'-1 is no quantity
        "#);
    }

    #[test]
    fn a_text_cannot_become_a_formula() {
        for name in ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1", "\0=1"] {
            assert_eq!(text(name), format!("'{name}"));
        }
        assert_eq!(text("O'Neill = 1"), "O'Neill = 1");
    }

    #[tokio::test]
    async fn a_sheet_that_breaks_off_leaves_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("2024-09.csv");
        std::fs::write(&target, "the old one").unwrap();
        let broken = ReportError::Database(sqlx::Error::PoolClosed);
        let entries = [Ok(invoice("Acme", 1)), Err(broken)];

        let result = write_csv(stream::iter(entries), &target).await;

        assert!(matches!(result, Err(SheetError::Rows(_))));
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "the old one");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}

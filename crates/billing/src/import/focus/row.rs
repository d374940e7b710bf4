//! A row: from the fields of a line to what is billed by it.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use chrono_tz::Tz;
use csv::ByteRecord;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

use super::super::BadRow;
use super::column::{Column, Layout};
use super::number;
use crate::account::NewAccount;
use crate::money::{Currency, exact_add, exact_mul};
use crate::period;
use crate::price::{Model, NewPrice, PriceKey};
use crate::text::{self, ID_CHARS_MAX, mend};

#[cfg(test)]
mod tests;

/// How far price times quantity may be from the cost of a rated row: what the provider's own ten or
/// eleven decimals lose.
const RATED_WITHIN: Decimal = Decimal::from_parts(1, 0, 0, false, 9);

/// A row that can be billed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub(super) line: u64,
    pub(super) event_id: String,
    pub(super) account: NewAccount,
    pub(super) price: NewPrice,
    /// Its first day.
    pub(super) month: NaiveDate,
    pub(super) quantity: Decimal,
    pub(super) amount: Decimal,
    pub(super) used_at: DateTime<Utc>,
    pub(super) body_hash: [u8; 32],
}

impl Row {
    /// Reads a line.
    pub(super) fn parse(record: &ByteRecord, line: u64, layout: &Layout) -> Result<Self, BadRow> {
        let fields = Fields {
            record,
            line,
            layout,
        };
        fields.whole()?;
        let currency = fields.currency()?;
        let billing = Billing::read(&fields)?;
        let month = fields.month()?;
        let used_at = fields.instant(Column::ChargePeriodStart)?;
        let account = fields.account(currency)?;
        let code = fields.code()?;
        let body_hash = body_hash(&[
            &account.external_id,
            currency.code(),
            &month.to_string(),
            &code,
            &used_at.to_rfc3339(),
            &written(billing.list_price),
            &written(billing.quantity),
            &billing.cost.to_string(),
        ]);
        let (model, quantity, amount) = billing.rated();
        Ok(Self {
            line,
            event_id: fields.id(Column::Id)?.to_owned(),
            account,
            price: NewPrice {
                key: PriceKey {
                    code,
                    model,
                    currency,
                },
                unit: mend(fields.text(Column::PricingUnit)?.unwrap_or_default()),
                description: mend(fields.text(Column::ChargeDescription)?.unwrap_or_default()),
            },
            month,
            quantity,
            amount,
            used_at,
            body_hash,
        })
    }

    /// The line on which it begins.
    #[must_use]
    pub fn line(&self) -> u64 {
        self.line
    }
}

/// What a row is billed by.
struct Billing {
    list_price: Option<Decimal>,
    quantity: Option<Decimal>,
    cost: Decimal,
}

impl Billing {
    fn read(fields: &Fields<'_>) -> Result<Self, BadRow> {
        let cost = fields.number(Column::BilledCost)?;
        Ok(Self {
            list_price: fields.number(Column::ListUnitPrice)?,
            quantity: fields.number(Column::PricingQuantity)?,
            cost: cost.ok_or_else(|| fields.bad(Column::BilledCost, "is empty"))?,
        })
    }

    /// The model, quantity and exact amount by which it is billed.
    fn rated(&self) -> (Model, Decimal, Decimal) {
        match (self.list_price, self.quantity) {
            (Some(unit_price), Some(quantity)) if self.is_product(unit_price, quantity) => {
                (Model::PerUnit { unit_price }, quantity, Decimal::ZERO)
            }
            (_, quantity) => (Model::PassThrough, quantity.unwrap_or_default(), self.cost),
        }
    }

    /// A product that cannot be calculated exactly proves nothing.
    fn is_product(&self, unit_price: Decimal, quantity: Decimal) -> bool {
        exact_mul(unit_price, quantity)
            .and_then(|product| exact_add(product, -self.cost))
            .is_ok_and(|difference| difference.abs() <= RATED_WITHIN)
    }
}

/// The fields of one line, by column.
struct Fields<'a> {
    record: &'a ByteRecord,
    line: u64,
    layout: &'a Layout,
}

impl<'a> Fields<'a> {
    fn whole(&self) -> Result<(), BadRow> {
        let (is, due) = (self.record.len(), self.layout.width());
        if is == due {
            return Ok(());
        }
        let problem = format!("has {is} fields where the header has {due}");
        Err(BadRow {
            line: self.line,
            column: None,
            problem,
        })
    }

    /// The text of a field, if it is neither empty nor `NULL`.
    fn text(&self, column: Column) -> Result<Option<&'a str>, BadRow> {
        let bytes = self
            .record
            .get(self.layout.place(column))
            .unwrap_or_default();
        let text = str::from_utf8(bytes)
            .map_err(|_| self.bad(column, "is not UTF-8"))?
            .trim();
        Ok(Some(text).filter(|text| !text.is_empty() && !text.eq_ignore_ascii_case("null")))
    }

    fn required(&self, column: Column) -> Result<&'a str, BadRow> {
        self.text(column)?
            .ok_or_else(|| self.bad(column, "is empty"))
    }

    fn id(&self, column: Column) -> Result<&'a str, BadRow> {
        let id = self.required(column)?;
        self.checked_id(column, id)
    }

    fn checked_id(&self, column: Column, id: &'a str) -> Result<&'a str, BadRow> {
        text::check(id, ID_CHARS_MAX).map_err(|why| self.bad_text(column, id, why))?;
        Ok(id)
    }

    fn number(&self, column: Column) -> Result<Option<Decimal>, BadRow> {
        let parse = |text| number::parse(text).map_err(|why| self.bad_text(column, text, why));
        self.text(column)?.map(parse).transpose()
    }

    fn currency(&self) -> Result<Currency, BadRow> {
        let code = self.required(Column::BillingCurrency)?;
        Currency::parse(code).map_err(|why| self.bad(Column::BillingCurrency, why))
    }

    fn account(&self, currency: Currency) -> Result<NewAccount, BadRow> {
        let external_id = self.id(Column::SubAccountId)?.to_owned();
        let name = mend(self.text(Column::SubAccountName)?.unwrap_or(&external_id));
        Ok(NewAccount {
            external_id,
            name,
            currency,
            zone: Tz::UTC,
        })
    }

    fn code(&self) -> Result<String, BadRow> {
        for column in [Column::SkuPriceId, Column::SkuId] {
            if let Some(code) = self.text(column)? {
                return Ok(self.checked_id(column, code)?.to_owned());
            }
        }
        Ok("other".to_owned())
    }

    fn instant(&self, column: Column) -> Result<DateTime<Utc>, BadRow> {
        let text = self.required(column)?;
        let plain = |text| NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S");
        DateTime::parse_from_rfc3339(text)
            .map(|at| at.to_utc())
            .or_else(|_| plain(text).map(|at| at.and_utc()))
            .ok()
            .filter(|at| period::YEARS.contains(&at.year()))
            .ok_or_else(|| self.bad_text(column, text, "is no instant such as 2024-09-30 22:00:00"))
    }

    fn month(&self) -> Result<NaiveDate, BadRow> {
        let column = Column::BillingPeriodStart;
        let start = self.instant(column)?;
        if start.day() == 1 && start.time() == NaiveTime::MIN {
            return Ok(start.date_naive());
        }
        Err(self.bad_text(
            column,
            self.required(column)?,
            "is not the start of a month",
        ))
    }

    fn bad(&self, column: Column, problem: impl ToString) -> BadRow {
        BadRow {
            line: self.line,
            column: Some(column.name()),
            problem: problem.to_string(),
        }
    }

    fn bad_text(&self, column: Column, text: &str, why: impl ToString) -> BadRow {
        let shown: String = text.chars().take(60).collect();
        self.bad(column, format!("{shown:?} {}", why.to_string()))
    }
}

fn written(number: Option<Decimal>) -> String {
    number.map(|number| number.to_string()).unwrap_or_default()
}

/// SHA-256 of the fields. Each goes in with its length, so that no two rows run together alike.
fn body_hash(fields: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for field in fields {
        hash.update((field.len() as u64).to_be_bytes());
        hash.update(field);
    }
    hash.finalize().into()
}

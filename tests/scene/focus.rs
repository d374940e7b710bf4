//! Usage files, and what they come to: calculated from the file alone, with none of the product's
//! code, by a few lines that a reader can check.

use std::collections::BTreeMap;
use std::path::Path;

use csv::StringRecord;
use rust_decimal::{Decimal, RoundingStrategy};

const HEAD: [&str; 13] = [
    "Id",
    "SubAccountId",
    "SubAccountName",
    "BillingCurrency",
    "BillingPeriodStart",
    "ChargePeriodStart",
    "SkuId",
    "SkuPriceId",
    "ListUnitPrice",
    "PricingQuantity",
    "BilledCost",
    "PricingUnit",
    "ChargeDescription",
];

/// One row of usage: so much of a price.
#[derive(Debug, Clone)]
pub(crate) struct Charge {
    pub(crate) id: String,
    pub(crate) account: String,
    pub(crate) month: &'static str,
    pub(crate) currency: &'static str,
    pub(crate) price: &'static str,
    pub(crate) unit_price: Decimal,
    pub(crate) quantity: Decimal,
}

impl Charge {
    /// A row in US dollars.
    pub(crate) fn new(
        (id, month): (impl ToString, &'static str),
        account: impl ToString,
        (price, unit_price): (&'static str, &str),
        quantity: impl ToString,
    ) -> Self {
        Self {
            id: id.to_string(),
            account: account.to_string(),
            month,
            currency: "USD",
            price,
            unit_price: number(unit_price).unwrap(),
            quantity: number(&quantity.to_string()).unwrap(),
        }
    }
}

/// The charges as a FOCUS 1.0 file.
pub(super) fn written(charges: &[Charge]) -> Vec<u8> {
    let mut file = csv::Writer::from_writer(Vec::new());
    file.write_record(HEAD).unwrap();
    for charge in charges {
        let Charge {
            id,
            account,
            month,
            currency,
            price,
            unit_price,
            quantity,
        } = charge;
        let name = format!("Customer {account}");
        let (start, used) = (
            format!("{month}-01 00:00:00"),
            format!("{month}-17 08:30:00"),
        );
        let cost = (unit_price * quantity).to_string();
        let (unit_price, quantity) = (unit_price.to_string(), quantity.to_string());
        let who = [id.as_str(), account, &name, currency];
        let what = [
            &start,
            &used,
            "NULL",
            price,
            &unit_price,
            &quantity,
            &cost,
            "hours",
            "Use",
        ];
        file.write_record(who.iter().chain(&what)).unwrap();
    }
    file.into_inner().unwrap()
}

/// What usage comes to, by the rules of the product's description: a row whose price times quantity
/// is its cost joins a line per price, any other a line per code; each line is rounded once, half
/// away from zero, to cents.
#[derive(Debug, Default)]
pub(crate) struct Reckoning {
    /// Account → its lines (month of use, code, unit price where there is one) → exact amount.
    lines: BTreeMap<String, BTreeMap<LineKey, Decimal>>,
}

type LineKey = (String, String, Option<Decimal>);

impl Reckoning {
    /// Of a file.
    pub(crate) fn of(path: impl AsRef<Path>) -> Self {
        let mut reckoning = Self::default();
        reckoning.add(path);
        reckoning
    }

    /// Adds another file.
    pub(crate) fn add(&mut self, path: impl AsRef<Path>) {
        let mut file = csv::Reader::from_path(path).unwrap();
        let head = file.headers().unwrap().clone();
        for row in file.records() {
            let (account, key, amount) = charged(&head, &row.unwrap());
            *self
                .lines
                .entry(account)
                .or_default()
                .entry(key)
                .or_default() += amount;
        }
    }

    pub(crate) fn accounts(&self) -> usize {
        self.lines.len()
    }

    pub(crate) fn lines(&self) -> usize {
        self.lines.values().map(BTreeMap::len).sum()
    }

    /// Before any rounding.
    pub(crate) fn exact(&self) -> Decimal {
        self.lines.values().flat_map(BTreeMap::values).sum()
    }

    /// Account → its lines' rounded sum.
    pub(crate) fn totals(&self) -> BTreeMap<String, Decimal> {
        let sum = |lines: &BTreeMap<_, Decimal>| lines.values().map(|exact| cents(*exact)).sum();
        self.lines
            .iter()
            .map(|(account, lines)| (account.clone(), sum(lines)))
            .collect()
    }

    pub(crate) fn total(&self) -> Decimal {
        self.totals().values().sum()
    }
}

fn charged(head: &StringRecord, row: &StringRecord) -> (String, LineKey, Decimal) {
    let field = |name: &str| {
        let place = head.iter().position(|column| column == name).unwrap();
        Some(row[place].trim()).filter(|text| !text.is_empty() && *text != "NULL")
    };
    let amount = |name: &str| field(name).and_then(number);
    let cost = amount("BilledCost").unwrap();
    let rated = amount("ListUnitPrice").zip(amount("PricingQuantity"));
    let rated =
        rated.filter(|(price, quantity)| (price * quantity - cost).abs() <= Decimal::new(1, 9));
    let code = field("SkuPriceId").or(field("SkuId")).unwrap_or("other");
    let month = field("BillingPeriodStart").unwrap()[..7].to_owned();
    let key = (month, code.to_owned(), rated.map(|(price, _)| price));
    let exact = rated.map_or(cost, |(price, quantity)| price * quantity);
    (field("SubAccountId").unwrap().to_owned(), key, exact)
}

fn number(text: &str) -> Option<Decimal> {
    text.parse()
        .or_else(|_| Decimal::from_scientific(text))
        .ok()
}

/// Rounded to cents, half away from zero.
pub(crate) fn cents(exact: Decimal) -> Decimal {
    exact.round_dp_with_strategy(2, RoundingStrategy::MidpointAwayFromZero)
}

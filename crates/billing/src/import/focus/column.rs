//! The columns that are read, found by their names wherever they stand.

use csv::ByteRecord;

/// A column that is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    BilledCost,
    BillingCurrency,
    BillingPeriodStart,
    ChargeDescription,
    ChargePeriodStart,
    Id,
    ListUnitPrice,
    PricingQuantity,
    PricingUnit,
    SkuId,
    SkuPriceId,
    SubAccountId,
    SubAccountName,
}

impl Column {
    const ALL: [Self; 13] = [
        Self::BilledCost,
        Self::BillingCurrency,
        Self::BillingPeriodStart,
        Self::ChargeDescription,
        Self::ChargePeriodStart,
        Self::Id,
        Self::ListUnitPrice,
        Self::PricingQuantity,
        Self::PricingUnit,
        Self::SkuId,
        Self::SkuPriceId,
        Self::SubAccountId,
        Self::SubAccountName,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::BilledCost => "BilledCost",
            Self::BillingCurrency => "BillingCurrency",
            Self::BillingPeriodStart => "BillingPeriodStart",
            Self::ChargeDescription => "ChargeDescription",
            Self::ChargePeriodStart => "ChargePeriodStart",
            Self::Id => "Id",
            Self::ListUnitPrice => "ListUnitPrice",
            Self::PricingQuantity => "PricingQuantity",
            Self::PricingUnit => "PricingUnit",
            Self::SkuId => "SkuId",
            Self::SkuPriceId => "SkuPriceId",
            Self::SubAccountId => "SubAccountId",
            Self::SubAccountName => "SubAccountName",
        }
    }
}

/// Why a header cannot be used.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderProblem {
    /// All columns that it lacks.
    Missing(Vec<&'static str>),
    /// A column that it has twice: which one is meant?
    Repeated(&'static str),
}

/// Where each column stands in this file.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    places: [usize; Column::ALL.len()],
    width: usize,
}

impl Layout {
    pub(super) fn of(header: &ByteRecord) -> Result<Self, HeaderProblem> {
        let mut places = [0; Column::ALL.len()];
        let mut missing = Vec::new();
        for (place, column) in places.iter_mut().zip(Column::ALL) {
            let name = column.name().as_bytes();
            let mut found = header
                .iter()
                .enumerate()
                .filter(|(_, cell)| cell.trim_ascii() == name);
            match (found.next(), found.next()) {
                (Some((nth, _)), None) => *place = nth,
                (Some(_), Some(_)) => return Err(HeaderProblem::Repeated(column.name())),
                (None, _) => missing.push(column.name()),
            }
        }
        if missing.is_empty() {
            Ok(Self {
                places,
                width: header.len(),
            })
        } else {
            Err(HeaderProblem::Missing(missing))
        }
    }

    /// How many fields each row has.
    pub(super) fn width(&self) -> usize {
        self.width
    }

    pub(super) fn place(&self, column: Column) -> usize {
        self.places[column as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_is_found_at_its_own_place() {
        let names: Vec<&str> = Column::ALL
            .iter()
            .rev()
            .map(|column| column.name())
            .collect();

        let layout = Layout::of(&ByteRecord::from(names.clone())).unwrap();

        assert_eq!(layout.width(), 13);
        for column in Column::ALL {
            assert_eq!(names[layout.place(column)], column.name());
        }
    }

    #[test]
    fn all_missing_columns_are_named_at_once() {
        let names = Column::ALL.iter().map(|column| column.name());
        let some: Vec<&str> = names.filter(|name| !name.starts_with("Sku")).collect();

        let problem = Layout::of(&ByteRecord::from(some)).unwrap_err();

        assert_eq!(problem, HeaderProblem::Missing(vec!["SkuId", "SkuPriceId"]));
    }

    #[test]
    fn a_column_that_stands_twice_is_refused() {
        let mut names: Vec<&str> = Column::ALL.iter().map(|column| column.name()).collect();
        names.push("Id");

        let problem = Layout::of(&ByteRecord::from(names)).unwrap_err();

        assert_eq!(problem, HeaderProblem::Repeated("Id"));
    }
}

//! The catalogue: what the cloud host of the sample sells, in three currencies.
//!
//! The dollars are list prices that public cloud hosts publish: servers from 4 to 96 dollars a
//! month, billed by the hour up to 672 of them; volumes at ten cents a gigabyte and month, transfer
//! beyond what is included at one cent a gigabyte, a load balancer at twelve dollars. Yen and
//! dinars are those at about 150 and 0.3075 to the dollar, rounded as a price list would.

use std::collections::HashMap;

use anyhow::{Context, Result};
use billing::ids::PriceId;
use billing::money::Currency;
use billing::price::{Model, NewPrice, Price, PriceKey};

/// The currencies, in the order in which an item names its prices: 2, 0 and 3 decimals.
pub(super) const CURRENCIES: [&str; 3] = ["USD", "JPY", "KWD"];
/// From so many hours on a month costs its monthly price.
const CAP_HOURS: u16 = 672;

/// Something that is sold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Item {
    Server1,
    Server2,
    Server4,
    Server8,
    Server16,
    ServerCpu,
    Database,
    LoadBalancer,
    Address,
    SitePlan,
    StoragePlan,
    Support,
    Backups,
    Volume,
    Transfer,
    ObjectStorage,
    Snapshots,
    Functions,
}

enum Rate {
    /// A month's price and an hour's.
    Hourly([(&'static str, &'static str); 3]),
    /// A month's price.
    Flat([&'static str; 3]),
    /// A unit's price.
    Metered([&'static str; 3]),
}

type Entry = (Item, &'static str, &'static str, &'static str, Rate);

#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    (Item::Server1, "server-1gb", "hour", "Server, 1 vCPU, 1 GB",
        Rate::Hourly([("6", "0.00893"), ("900", "1.3393"), ("1.845", "0.00275")])),
    (Item::Server2, "server-2gb", "hour", "Server, 1 vCPU, 2 GB",
        Rate::Hourly([("12", "0.01786"), ("1800", "2.6786"), ("3.690", "0.00549")])),
    (Item::Server4, "server-4gb", "hour", "Server, 2 vCPU, 4 GB",
        Rate::Hourly([("24", "0.03571"), ("3600", "5.3571"), ("7.380", "0.01098")])),
    (Item::Server8, "server-8gb", "hour", "Server, 4 vCPU, 8 GB",
        Rate::Hourly([("48", "0.07143"), ("7200", "10.7143"), ("14.760", "0.02196")])),
    (Item::Server16, "server-16gb", "hour", "Server, 8 vCPU, 16 GB",
        Rate::Hourly([("96", "0.14286"), ("14400", "21.4286"), ("29.520", "0.04393")])),
    (Item::ServerCpu, "server-cpu-4gb", "hour", "Server, 2 dedicated vCPU, 4 GB",
        Rate::Hourly([("42", "0.06250"), ("6300", "9.3750"), ("12.915", "0.01922")])),
    (Item::Database, "database-1gb", "hour", "Managed database, 1 GB",
        Rate::Hourly([("15", "0.02232"), ("2250", "3.3482"), ("4.615", "0.00687")])),
    (Item::LoadBalancer, "load-balancer", "hour", "Load balancer",
        Rate::Hourly([("12", "0.01786"), ("1800", "2.6786"), ("3.690", "0.00549")])),
    (Item::Address, "ipv4-reserved", "hour", "Reserved IPv4 address",
        Rate::Hourly([("5", "0.00744"), ("750", "1.1161"), ("1.540", "0.00229")])),
    (Item::SitePlan, "plan-site", "month", "Site plan",
        Rate::Flat(["3", "450", "0.925"])),
    (Item::StoragePlan, "plan-storage", "month", "Object storage, 250 GB included",
        Rate::Flat(["5", "750", "1.540"])),
    (Item::Support, "plan-support", "month", "Business support",
        Rate::Flat(["24", "3600", "7.380"])),
    (Item::Backups, "backups", "month", "Weekly backups of a server",
        Rate::Flat(["1.20", "180", "0.369"])),
    (Item::Volume, "volume", "GB-month", "Block storage",
        Rate::Flat(["0.10", "15", "0.031"])),
    (Item::Transfer, "transfer", "GB", "Outbound transfer beyond what is included",
        Rate::Metered(["0.01", "1.5", "0.003"])),
    (Item::ObjectStorage, "object-storage", "GB-month", "Object storage beyond what is included",
        Rate::Metered(["0.02", "3", "0.006"])),
    (Item::Snapshots, "snapshots", "GB-month", "Snapshots",
        Rate::Metered(["0.06", "9", "0.018"])),
    (Item::Functions, "functions", "GB-second", "Functions",
        Rate::Metered(["0.0000185", "0.0028", "0.0000057"])),
];

/// The price list, as the product wants it.
pub(super) fn price_list() -> Result<Vec<NewPrice>> {
    let mut list = Vec::new();
    for entry in ENTRIES {
        for nth in 0..CURRENCIES.len() {
            list.push(new_price(entry, nth)?);
        }
    }
    Ok(list)
}

fn new_price((_, code, unit, description, rate): &Entry, nth: usize) -> Result<NewPrice> {
    Ok(NewPrice {
        key: PriceKey {
            code: (*code).to_owned(),
            model: model(rate, nth).with_context(|| format!("the price {code:?}"))?,
            currency: Currency::parse(CURRENCIES[nth])?,
        },
        unit: (*unit).to_owned(),
        description: (*description).to_owned(),
    })
}

fn model(rate: &Rate, nth: usize) -> Result<Model> {
    Ok(match rate {
        Rate::Flat(of) => Model::Flat {
            unit_price: of[nth].parse()?,
        },
        Rate::Metered(of) => Model::PerUnit {
            unit_price: of[nth].parse()?,
        },
        Rate::Hourly(of) => Model::HourlyCapped {
            unit_price: of[nth].1.parse()?,
            monthly_price: of[nth].0.parse()?,
            cap_hours: CAP_HOURS,
        },
    })
}

/// By which usage and subscriptions name an item.
pub(super) fn code(item: Item) -> &'static str {
    let entry = ENTRIES.iter().find(|entry| entry.0 == item);
    entry.expect("every item has its entry").1
}

/// The ids that the prices have in a database.
#[derive(Debug, Clone)]
pub(super) struct PriceIds(HashMap<(Item, Currency), PriceId>);

impl PriceIds {
    pub(super) fn of(prices: Vec<Price>) -> Self {
        let item = |code: &str| ENTRIES.iter().find(|entry| entry.1 == code);
        let ids = prices.into_iter().filter_map(|price| {
            let (item, ..) = item(&price.key.code)?;
            Some(((*item, price.key.currency), price.price_id))
        });
        Self(ids.collect())
    }

    /// # Panics
    /// When the price list was not created first.
    pub(super) fn id(&self, item: Item, currency: Currency) -> PriceId {
        self.0[&(item, currency)]
    }
}

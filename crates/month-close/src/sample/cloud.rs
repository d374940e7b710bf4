//! The cloud sample: the customers of a cloud host, as many as wanted, the same for the same seed.
//!
//! A pure description: customer n depends on the seed and on n alone. Most have one small server or
//! two, a few have hundreds; some have a plan and nothing else, some nothing at all; three in ten
//! report usage. There are about 1.6 lines to bill per account. What they pay by and where they are
//! is in `place.rs`, what things cost in `catalogue.rs`.

use anyhow::Result;
use billing::account::NewAccount;
use billing::credit::NewCredit;
use billing::ids::{AccountId, CreditId};
use billing::import::opening::Opening;
use billing::money::Currency;
use billing::payment_method::NewPaymentMethod;
use billing::price::{NewPrice, Price};
use billing::subscription::NewSubscription;
use billing::usage::{UsageEvent, UsageKey};
use billing_workers::gateways::SIM;
use chrono::NaiveDate;
use rust_decimal::Decimal;
use sha2::{Digest, Sha256};

mod catalogue;
mod customer;
mod place;
#[cfg(test)]
mod tests;

use self::catalogue::{CURRENCIES, PriceIds};
use self::customer::{Customer, Thing, Used};

/// The first month of every customer.
pub(crate) const FIRST_MONTH: NaiveDate = NaiveDate::from_ymd_opt(2026, 1, 1).expect("it exists");
/// Who counts usage.
const SOURCE: &str = "cloud";

/// The sample of a seed, with the ids that its prices have in a database.
#[derive(Debug, Clone)]
pub(super) struct Cloud {
    seed: u64,
    currencies: [Currency; 3],
    prices: PriceIds,
}

/// What the host charges.
pub(super) fn price_list() -> Result<Vec<NewPrice>> {
    catalogue::price_list()
}

impl Cloud {
    pub(super) fn new(seed: u64, prices: Vec<Price>) -> Result<Self> {
        let [dollar, yen, dinar] = CURRENCIES.map(Currency::parse);
        Ok(Self {
            seed,
            currencies: [dollar?, yen?, dinar?],
            prices: PriceIds::of(prices),
        })
    }

    /// By which a customer is known.
    pub(super) fn external_id(&self, number: u64) -> String {
        customer::external_id(self.seed, number)
    }

    /// A customer as it comes, with what it used in its first month.
    pub(super) fn opening(&self, number: u64) -> Opening {
        let customer = Customer::of(self.seed, number, &self.currencies);
        let id = AccountId::new();
        let usage = self.usage_of(&customer, id, FIRST_MONTH);
        let currency = customer.currency;
        let subscription = |thing| subscription(thing, id, currency, &self.prices);
        Opening {
            account_id: id,
            email: customer.email.clone(),
            method: method(&customer, id),
            credit: customer.credit.map(|money| NewCredit {
                credit: CreditId::new(),
                account: id,
                money,
                reason: "Welcome credit".to_owned(),
            }),
            usage,
            account: account(&customer),
            subscriptions: customer.things.into_iter().map(subscription).collect(),
        }
    }

    /// A customer that used something in a month, and what, once it is known by which id.
    pub(super) fn user(&self, number: u64, month: NaiveDate) -> Option<User<'_>> {
        let customer = Customer::of(self.seed, number, &self.currencies);
        let uses = !customer.uses_in(month).is_empty();
        uses.then(|| User {
            account: account(&customer),
            customer,
            cloud: self,
            month,
        })
    }

    fn usage_of(&self, customer: &Customer, id: AccountId, month: NaiveDate) -> Vec<UsageEvent> {
        let uses = customer.uses_in(month);
        let event = |used: Used| {
            let price_id = self.prices.id(used.item, customer.currency);
            let event_id = format!(
                "{}-{}-{}",
                customer.external_id,
                month.format("%Y%m"),
                used.nth
            );
            UsageEvent {
                body_hash: body_hash(&event_id, &used),
                key: UsageKey {
                    source: SOURCE.to_owned(),
                    event_id,
                },
                account_id: id,
                price_id,
                usage_month: month,
                quantity: used.quantity,
                amount: Decimal::ZERO,
                used_at: used.used_at,
            }
        };
        uses.into_iter().map(event).collect()
    }
}

/// Somebody who used something.
pub(super) struct User<'a> {
    cloud: &'a Cloud,
    customer: Customer,
    month: NaiveDate,
    /// By which its id is found.
    pub(super) account: NewAccount,
}

impl User<'_> {
    pub(super) fn usage(&self, id: AccountId) -> Vec<UsageEvent> {
        self.cloud.usage_of(&self.customer, id, self.month)
    }
}

fn account(customer: &Customer) -> NewAccount {
    NewAccount {
        external_id: customer.external_id.clone(),
        name: customer.name.clone(),
        currency: customer.currency,
        zone: customer.zone,
    }
}

fn method(customer: &Customer, account: AccountId) -> Option<NewPaymentMethod> {
    let card = customer.card.as_ref()?;
    Some(NewPaymentMethod {
        account,
        gateway: SIM.to_owned(),
        token: card.token_of(&customer.external_id),
        brand: card.brand.to_owned(),
        last_four: card.last_four.clone(),
    })
}

fn subscription(
    thing: Thing,
    account: AccountId,
    currency: Currency,
    prices: &PriceIds,
) -> NewSubscription {
    NewSubscription {
        account,
        external_id: thing.name,
        price: prices.id(thing.item, currency),
        quantity: thing.quantity,
        start_at: thing.start_at,
        end_at: thing.end_at,
    }
}

fn body_hash(event_id: &str, used: &Used) -> [u8; 32] {
    let code = catalogue::code(used.item);
    let body = format!("{event_id} {code} {} {}", used.quantity, used.used_at);
    Sha256::digest(body).into()
}

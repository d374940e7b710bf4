//! A customer: who it is, what it has, what it uses in a month.

use billing::money::{Currency, Money};
use billing::period;
use chrono::{DateTime, Datelike, Duration, NaiveDate, Utc};
use chrono_tz::Tz;
use rust_decimal::Decimal;

use super::super::random::Random;
use super::FIRST_MONTH;
use super::catalogue::Item;
use super::place::{self, Card};

/// What is drawn for a customer; its usage of a month is drawn apart, so that months of more and
/// less usage leave the customer as it is.
const WHO: u64 = 0;

/// How many servers there are, of a hundred thousand customers with servers. The largest is held
/// below what would fill memory.
#[rustfmt::skip]
const SERVERS: &[(u64, (u64, u64))] = &[
    (88_500, (1, 1)), (8_000, (2, 2)), (2_700, (3, 5)), (700, (6, 15)), (95, (16, 80)),
    (5, (81, 200)),
];
#[rustfmt::skip]
const SIZES: &[(u64, Item)] = &[
    (50, Item::Server1), (24, Item::Server2), (12, Item::Server4), (4, Item::Server8),
    (1, Item::Server16), (3, Item::ServerCpu), (6, Item::Database),
];
const PLANS: &[(u64, Item)] = &[(6, Item::SitePlan), (4, Item::StoragePlan)];
#[rustfmt::skip]
const EXTRAS: &[(u64, Item)] = &[
    (5, Item::Backups), (4, Item::Volume), (1, Item::LoadBalancer), (1, Item::Address),
    (1, Item::Support),
];
#[rustfmt::skip]
const METERED: &[(u64, Item)] = &[
    (5, Item::Transfer), (3, Item::ObjectStorage), (2, Item::Snapshots), (1, Item::Functions),
];
/// How often in a month usage is reported.
const REPORTS: &[(u64, u64)] = &[(4, 1), (3, 2), (2, 3), (1, 4)];

const SECONDS_OF_DAY: u64 = 86_400;

/// A customer of the sample. Everything but the ids, which a database gives out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sample) struct Customer {
    seed: u64,
    number: u64,
    pub(super) external_id: String,
    pub(super) name: String,
    pub(super) email: Option<String>,
    pub(super) currency: Currency,
    pub(super) zone: Tz,
    pub(super) card: Option<Card>,
    pub(super) credit: Option<Money>,
    pub(super) things: Vec<Thing>,
    is_metered: bool,
}

/// Something that a customer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Thing {
    pub(super) name: String,
    pub(super) item: Item,
    pub(super) quantity: Decimal,
    pub(super) start_at: DateTime<Utc>,
    pub(super) end_at: Option<DateTime<Utc>>,
}

/// Something that a customer used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Used {
    pub(super) nth: u64,
    pub(super) item: Item,
    pub(super) quantity: Decimal,
    pub(super) used_at: DateTime<Utc>,
}

impl Customer {
    /// The customer of a number, which depends on nothing else.
    pub(super) fn of(seed: u64, number: u64, currencies: &[Currency; 3]) -> Self {
        let random = &mut Random::of(seed, number, WHO);
        let (nth, zone) = place::place(random);
        let currency = currencies[nth];
        let kind = random.within(1..=100);
        let things = match kind {
            1..=6 => Vec::new(),
            7..=18 => vec![plan(random)],
            _ => fleet(random),
        };
        let (name, mailbox) = name(random);
        Self {
            seed,
            number,
            external_id: external_id(seed, number),
            name,
            email: (!random.per_mille(5)).then(|| format!("{mailbox}.{number}@example.com")),
            currency,
            zone,
            card: place::card(random),
            credit: random.per_mille(50).then(|| credit(random, currency)),
            is_metered: !things.is_empty() && random.per_mille(320),
            things,
        }
    }

    pub(super) fn uses_in(&self, month: NaiveDate) -> Vec<Used> {
        if !self.is_metered {
            return Vec::new();
        }
        let purpose = u64::from(month.year().unsigned_abs() * 12 + month.month());
        let random = &mut Random::of(self.seed, self.number, purpose);
        let (start, end) = (period::start_of(month, self.zone), end_of(month, self.zone));
        let reports = random.weighted(REPORTS);
        let mut item = random.weighted(METERED);
        (0..reports)
            .map(|nth| {
                if nth > 0 && random.per_mille(120) {
                    item = random.weighted(METERED);
                }
                Used {
                    nth,
                    item,
                    quantity: amount_used(random, item),
                    used_at: between(random, start, end),
                }
            })
            .collect()
    }
}

/// Carries the seed, so that the customers of two seeds are two sets.
pub(super) fn external_id(seed: u64, number: u64) -> String {
    format!("cloud-{seed}-{number:08}")
}

fn end_of(month: NaiveDate, zone: Tz) -> DateTime<Utc> {
    period::start_of(period::month_after(month), zone)
}

fn between(random: &mut Random, from: DateTime<Utc>, until: DateTime<Utc>) -> DateTime<Utc> {
    let seconds = (until - from).num_seconds().unsigned_abs();
    from + seconds_of(random.within(0..=seconds - 1))
}

fn seconds_of(count: u64) -> Duration {
    Duration::seconds(count.cast_signed())
}

/// Half of it in the thousands is rare; a tenth of a unit is not.
fn amount_used(random: &mut Random, item: Item) -> Decimal {
    let digits = random.within(2..=5);
    let thousandths = random.within(1..=10_u64.pow(u32::try_from(digits).expect("it is small")));
    match item {
        Item::Functions => Decimal::from(thousandths * 1_000),
        _ => Decimal::from_i128_with_scale(i128::from(thousandths), 3) * Decimal::TEN,
    }
}

fn credit(random: &mut Random, currency: Currency) -> Money {
    const DOLLARS: &[i64] = &[5, 10, 10, 25, 100, 200];
    let unit = match currency.exponent() {
        0 => 150,
        3 => 310,
        _ => 100,
    };
    Money::new(random.any(DOLLARS) * unit, currency)
}

fn plan(random: &mut Random) -> Thing {
    let item = random.weighted(PLANS);
    let (start_at, end_at) = life(random);
    Thing {
        name: "plan".to_owned(),
        item,
        quantity: Decimal::ONE,
        start_at,
        end_at,
    }
}

/// Servers, and for some customers what goes with one.
fn fleet(random: &mut Random) -> Vec<Thing> {
    const ROLES: &[&str] = &["web", "app", "db", "mail", "build", "game", "vpn", "test"];
    let (fewest, most) = random.weighted(SERVERS);
    let servers = random.within(fewest..=most);
    let mut things: Vec<Thing> = (1..=servers)
        .map(|nth| {
            let (start_at, end_at) = life(random);
            Thing {
                name: format!("{}-{nth:02}", random.any(ROLES)),
                item: random.weighted(SIZES),
                quantity: Decimal::ONE,
                start_at,
                end_at,
            }
        })
        .collect();
    if random.per_mille(120) {
        let extra = extra(random, &things[0]);
        things.push(extra);
    }
    things
}

fn extra(random: &mut Random, server: &Thing) -> Thing {
    let item = random.weighted(EXTRAS);
    let quantity = match item {
        Item::Volume => random.within(1..=100) * 10,
        _ => 1,
    };
    Thing {
        name: format!("{} extra", server.name),
        item,
        quantity: Decimal::from(quantity),
        start_at: server.start_at,
        end_at: server.end_at,
    }
}

/// Most began in the two years before the first month and go on; some begin in it, some end in it,
/// some within the next four months. Seconds are odd: nobody starts a server on the hour.
fn life(random: &mut Random) -> (DateTime<Utc>, Option<DateTime<Utc>>) {
    let first = FIRST_MONTH.and_time(chrono::NaiveTime::MIN).and_utc();
    let day = |days: u64| seconds_of(days * SECONDS_OF_DAY);
    let start_at = match random.per_mille(150) {
        true => first + day(2) + seconds_of(random.within(0..=28 * SECONDS_OF_DAY)),
        false => first - seconds_of(random.within(SECONDS_OF_DAY..=730 * SECONDS_OF_DAY)),
    };
    let end_at = match random.within(1..=100) {
        1..=8 => Some(start_at.max(first + day(2)) + seconds_of(random.within(60..=2_000_000))),
        9..=20 => Some(first + day(35) + seconds_of(random.within(0..=110 * SECONDS_OF_DAY))),
        _ => None,
    };
    (start_at, end_at)
}

/// A name and the mailbox that goes with it.
fn name(random: &mut Random) -> (String, String) {
    #[rustfmt::skip]
    const GIVEN: &[&str] = &[
        "Ada", "Aiko", "Amina", "Bela", "Chen", "Diego", "Elif", "Farah", "Grace", "Hanna",
        "Ivan", "Joana", "Kenji", "Lena", "Mateo", "Nora", "Omar", "Priya", "Rafael", "Yusuf",
    ];
    #[rustfmt::skip]
    const FAMILY: &[&str] = &[
        "Abe", "Almeida", "Bauer", "Costa", "Demir", "Fischer", "Garcia", "Haddad", "Ito",
        "Jansen", "Kovacs", "Larsen", "Mehta", "Novak", "Okafor", "Petrov", "Rossi", "Sato",
        "Tanaka", "Weber",
    ];
    let (given, family) = (random.any(GIVEN), random.any(FAMILY));
    let mailbox = format!("{given}.{family}").to_lowercase();
    let name = match random.per_mille(250) {
        true => format!("{family} & {given} Ltd"),
        false => format!("{given} {family}"),
    };
    (name, mailbox)
}

//! The customers of the sample, judged as a crowd: that they are the same again, and their spread.

use std::collections::HashSet;

use super::catalogue::Item;
use super::*;

const MANY: u64 = 20_000;

fn customers(seed: u64, count: u64) -> Vec<Customer> {
    let currencies = CURRENCIES.map(|code| Currency::parse(code).unwrap());
    (0..count)
        .map(|number| Customer::of(seed, number, &currencies))
        .collect()
}

/// How many of a thousand are such.
fn per_mille(customers: &[Customer], is_such: impl Fn(&Customer) -> bool) -> usize {
    let such = customers.iter().filter(|one| is_such(one)).count();
    such * 1_000 / customers.len()
}

#[test]
fn customers_are_the_same_again_and_others_for_another_seed() {
    assert_eq!(customers(1, 100), customers(1, 200)[..100]);

    let name = |customer: &Customer| customer.name.clone();
    let (one, other) = (customers(1, 100), customers(2, 100));
    assert_ne!(
        one.iter().map(name).collect::<Vec<_>>(),
        other.iter().map(name).collect::<Vec<_>>()
    );
}

#[test]
fn the_spread_is_that_of_a_cloud_hosts_customers() {
    let all = customers(1, MANY);

    let pays_in = |code| per_mille(&all, |one| one.currency.code() == code);
    assert!((780..820).contains(&pays_in("USD")), "{}", pays_in("USD"));
    assert!((105..135).contains(&pays_in("JPY")), "{}", pays_in("JPY"));
    assert!((68..92).contains(&pays_in("KWD")), "{}", pays_in("KWD"));
    let idle = per_mille(&all, |one| one.things.is_empty());
    assert!((50..70).contains(&idle), "{idle}");
    let metered = per_mille(&all, |one| !one.uses_in(FIRST_MONTH).is_empty());
    assert!((280..320).contains(&metered), "{metered}");
    let approved = per_mille(&all, |one| {
        let card = one.card.as_ref();
        card.is_some_and(|card| card.token == "tok_approve")
    });
    assert!((945..963).contains(&approved), "{approved}");
    let credited = per_mille(&all, |one| one.credit.is_some());
    assert!((44..56).contains(&credited), "{credited}");
}

/// The gateway would decline only the first of all cards with the same token, whoever comes first.
#[test]
fn each_card_that_is_declined_once_has_a_token_of_its_own() {
    let all = customers(1, MANY);

    let tokens = all.iter().filter_map(|one| {
        let card = one.card.as_ref()?;
        Some(card.token_of(&one.external_id))
    });
    let soft: Vec<String> = tokens.filter(|token| token.contains("soft")).collect();
    assert!((200..400).contains(&soft.len()), "{}", soft.len());
    assert_eq!(soft.iter().collect::<HashSet<_>>().len(), soft.len());
}

/// A long seed and a number are as many digits as a card has: its whole sample would be refused.
#[test]
fn no_token_of_any_seed_could_hold_the_number_of_a_card() {
    for seed in [1, 1_000, u64::MAX] {
        let all = customers(seed, 2_000);
        let tokens = all.iter().filter_map(|one| {
            let card = one.card.as_ref()?;
            Some(card.token_of(&one.external_id))
        });

        let digits = tokens.map(|token| token.matches(char::is_numeric).count());

        assert!(digits.max().unwrap() < 12, "{seed}");
    }
}

#[test]
fn there_are_about_eight_lines_for_five_accounts() {
    let all = customers(1, MANY);

    let things: usize = all.iter().map(|one| one.things.len()).sum();
    let metered = |one: &Customer| {
        let uses = one.uses_in(FIRST_MONTH);
        let items: HashSet<Item> = uses.iter().map(|used| used.item).collect();
        items.len()
    };
    let per_hundred = (things + all.iter().map(metered).sum::<usize>()) * 100 / all.len();

    assert!((150..170).contains(&per_hundred), "{per_hundred}");
    let most = all.iter().map(|one| one.things.len()).max().unwrap();
    assert!((30..=201).contains(&most), "{most}");
}

#[test]
fn what_a_customer_has_is_named_once_and_lasts() {
    for customer in customers(3, 5_000) {
        let names: HashSet<&str> = customer
            .things
            .iter()
            .map(|one| one.name.as_str())
            .collect();
        assert_eq!(names.len(), customer.things.len(), "{customer:?}");
        let lasts = |one: &Thing| one.end_at.is_none_or(|end| end > one.start_at);
        assert!(customer.things.iter().all(lasts), "{customer:?}");
    }
}

#[test]
fn usage_lies_in_its_month_and_differs_from_month_to_month() {
    let february = billing::period::month_after(FIRST_MONTH);
    let mut same = 0;
    for customer in customers(1, 2_000) {
        for month in [FIRST_MONTH, february] {
            for used in customer.uses_in(month) {
                let local = used.used_at.with_timezone(&customer.zone).date_naive();
                assert_eq!(
                    local.format("%Y-%m").to_string(),
                    month.format("%Y-%m").to_string()
                );
                assert!(used.quantity > Decimal::ZERO);
            }
        }
        let months = [FIRST_MONTH, february].map(|month| customer.uses_in(month));
        same += usize::from(!months[0].is_empty() && months[0] == months[1]);
    }
    assert_eq!(same, 0);
}

#[test]
fn every_item_has_a_price_in_every_currency() {
    let list = price_list().unwrap();

    let keys: HashSet<_> = list.iter().map(|price| price.key.clone()).collect();
    assert_eq!(keys.len(), list.len());
    let items = list.iter().map(|price| price.key.code.as_str());
    assert_eq!(items.collect::<HashSet<_>>().len() * 3, list.len());
}

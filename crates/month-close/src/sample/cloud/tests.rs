use super::*;

fn customers(seed: u64, count: u64) -> Vec<Customer> {
    let currencies = CURRENCIES.map(|code| Currency::parse(code).unwrap());
    (0..count)
        .map(|number| Customer::of(seed, number, &currencies))
        .collect()
}

#[test]
fn customers_are_the_same_again_and_others_for_another_seed() {
    assert_eq!(customers(1, 100), customers(1, 200)[..100]);
    assert_ne!(customers(1, 100), customers(2, 100));
}

//! Random numbers that can be had again: each customer draws from a sequence of its own, so that
//! nobody's figures depend on how many others there are or in which order they are made.

use std::ops::RangeInclusive;

/// `SplitMix64`, started from what the sequence is for.
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The sequence of a seed, a customer's number and what is drawn for it.
    pub(super) fn of(seed: u64, customer: u64, purpose: u64) -> Self {
        let start = [customer, purpose].iter().fold(mixed(seed), |state, part| {
            mixed(state ^ part.wrapping_add(STEP))
        });
        Self(start)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0)
    }

    /// Any number of a range.
    pub(super) fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (first, count) = (*range.start(), range.end() - range.start() + 1);
        // The upper half of a product falls evenly, where a remainder would need a division.
        let scaled = u128::from(self.next()) * u128::from(count);
        first + u64::try_from(scaled >> 64).expect("the upper half of 128 bits has 64")
    }

    /// True so many times in a thousand.
    pub(super) fn per_mille(&mut self, share: u64) -> bool {
        self.within(1..=1_000) <= share
    }

    /// Any of some.
    pub(super) fn any<T: Copy>(&mut self, some: &[T]) -> T {
        let last = some.len() as u64 - 1;
        let nth = self.within(0..=last);
        some[nth as usize]
    }

    /// One of a table, each as often as its weight says.
    pub(super) fn weighted<T: Copy>(&mut self, table: &[(u64, T)]) -> T {
        let whole = table.iter().map(|(weight, _)| weight).sum::<u64>();
        let mut left = self.within(1..=whole);
        for (weight, one) in table {
            if left <= *weight {
                return *one;
            }
            left -= weight;
        }
        unreachable!("the weights add up to the whole")
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_the_same_again_and_another_for_each_purpose() {
        let drawn = |seed, customer, purpose| {
            let mut random = Random::of(seed, customer, purpose);
            [random.next(), random.next()]
        };
        assert_eq!(drawn(1, 2, 3), drawn(1, 2, 3));
        for other in [(2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 3, 2)] {
            assert_ne!(drawn(1, 2, 3), drawn(other.0, other.1, other.2));
        }
    }

    #[test]
    fn weights_are_kept() {
        let table = [(1, "rare"), (99, "usual")];
        let drawn = (0..10_000).map(|n| Random::of(1, n, 0).weighted(&table));
        let rare = drawn.filter(|one| *one == "rare").count();
        assert!((70..130).contains(&rare), "{rare}");
    }
}

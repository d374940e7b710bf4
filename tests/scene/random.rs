//! Random numbers that can be had again: a failure prints the seed of its run.

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::ops::Range;

/// Where a seed can be named.
const SEED: &str = "PROMISES_SEED";

/// `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    /// From `PROMISES_SEED`, or else from a new seed, which is printed.
    pub(crate) fn seeded() -> Self {
        let named = env::var(SEED).ok().map(|seed| seed.parse().unwrap());
        let seed = named.unwrap_or_else(|| RandomState::new().hash_one(SEED));
        println!("{SEED}={seed}");
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    pub(crate) fn within(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }
}

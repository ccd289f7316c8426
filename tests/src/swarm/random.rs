//! Seeded randomness: SplitMix64, so that a seed gives the same cluster on every machine.

/// A sequence of numbers that a seed decides.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// The sequence of a seed and a number, such as a node's within the cluster.
    pub fn new(seed: u64, number: u64) -> Self {
        let mut random = Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
        random.bits();
        random
    }

    /// The next 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 when the limit is 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        let wide = u128::from(self.bits()) * u128::from(limit);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// A place in something of this length; 0 when it is empty.
    pub fn place(&mut self, length: usize) -> usize {
        let length = u64::try_from(length).unwrap_or(u64::MAX);
        usize::try_from(self.below(length)).unwrap_or(0)
    }

    /// A number from `least` to `most`, both included.
    pub fn between(&mut self, least: i64, most: i64) -> i64 {
        let span = most.saturating_sub(least).saturating_add(1);
        let offset = self.below(u64::try_from(span).unwrap_or(0));
        least.saturating_add(i64::try_from(offset).unwrap_or(0))
    }

    /// True `percent` times in a hundred.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// A number between `least` and about `least << doublings`, every doubling equally likely:
    /// most are small and a few are large, as sizes and rates are.
    pub fn spread(&mut self, least: i64, doublings: u64) -> i64 {
        let base = least << self.below(doublings);
        base.saturating_add(self.between(0, base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_everything_and_another_seed_differs() {
        let take = |seed| {
            let mut random = Random::new(seed, 1);
            [random.bits(), random.bits(), random.bits()]
        };
        assert_eq!(take(7), take(7));
        assert_ne!(take(7), take(8));
    }

    #[test]
    fn numbers_stay_in_their_range() {
        let mut random = Random::new(1, 1);
        for _ in 0..1000 {
            assert!(random.below(7) < 7);
            assert!((-2..=2).contains(&random.between(-2, 2)));
            assert!((100..=1600).contains(&random.spread(100, 4)));
        }
        assert_eq!(random.below(0), 0);
    }
}

//! Chance from a seed.

/// Xorshift, as good as any for choosing what breaks.
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// What a seed decides.
    pub(super) fn new(seed: u64) -> Self {
        let mut chance = Self(seed | 1);
        for _ in 0..8 {
            chance.below(2);
        }
        chance
    }

    /// A number below `most`.
    pub(super) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }

    /// True once in so many times.
    pub(super) fn one_in(&mut self, most: u64) -> bool {
        self.below(most) == 0
    }
}

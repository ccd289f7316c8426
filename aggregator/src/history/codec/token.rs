//! A remainder as a token, which says how large it is, and the raw bits below its leading two.

#![expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the innermost loops of every block: a highest bit is below 64, a token below 130 and a \
              width below 63"
)]

/// Distinct tokens: one for each number below 8, then two for each doubling.
pub(super) const TOKENS: usize = 130;

/// Numbers that are their own token.
const DIRECT: u64 = 8;

/// What the tokens of numbers have in common whose highest bit is at the same place, in a table: which
/// side of [`DIRECT`] the next number is on is what can't be foretold, and a compiler makes a branch
/// of what is only written without one.
#[derive(Clone, Copy)]
struct Doubling {
    /// Raw bits.
    width: u8,
    /// What their leading two bits are added to, or all of a number that is its own token.
    before: u8,
}

const DOUBLINGS: [Doubling; 64] = {
    let mut all = [Doubling { width: 0, before: 0 }; 64];
    let mut exponent = DIRECT.trailing_zeros() as usize;
    while exponent < 64 {
        // What is left of a large number is its leading two bits: 2 or 3.
        all[exponent] = Doubling { width: exponent as u8 - 1, before: 2 * exponent as u8 };
        exponent += 1;
    }
    all
};

/// The place of the highest bit.
#[inline]
fn exponent(number: u64) -> usize {
    (63 - (number | 1).leading_zeros()) as usize
}

/// The token of a number, and how many raw bits follow it.
#[inline]
pub(super) fn token(number: u64) -> (u8, u32) {
    let Doubling { width, before } = DOUBLINGS[exponent(number) & 63];
    ((number >> width) as u8 + before, u32::from(width))
}

/// The least number of a token, and how many raw bits say which one it is.
pub(super) fn least(token: u8) -> (u64, u32) {
    let token = u64::from(token);
    if token < DIRECT {
        return (token, 0);
    }
    let above = token - DIRECT;
    // A token is below 130, so the exponent is at most 63.
    let exponent = (3 + above / 2).min(63);
    let width = u32::try_from(exponent - 1).unwrap_or(0);
    ((2 | (above & 1)) << (exponent - 1), width)
}

/// Contexts: twenty-one scales, each after a zero and after another number.
pub(super) const CONTEXTS: usize = 42;

/// What is known of the remainders before: about sixteen times their mean, the last ones most.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scale {
    mean: u64,
    moved: bool,
}

/// The first of the two contexts of a scale, by the highest bit of the mean: one for two doublings.
const SCALES: [u8; 64] = {
    let mut all = [0; 64];
    let mut exponent = 2;
    while exponent < 64 {
        let bits = exponent as u8 - 1;
        all[exponent] = if bits < 40 { bits & !1 } else { 40 };
        exponent += 1;
    }
    all
};

/// Above this a number only counts as large.
const LARGE: u64 = 1 << 50;

impl Scale {
    /// The table to use for the next token.
    #[inline]
    pub(super) fn context(self) -> usize {
        usize::from(SCALES[exponent(self.mean) & 63]) + usize::from(self.moved)
    }

    /// Takes note of a remainder.
    #[inline]
    pub(super) fn saw(&mut self, number: u64) {
        self.mean = self.mean - (self.mean >> 3) + (number.min(LARGE) << 1);
        self.moved = number != 0;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_number_is_its_token_and_raw_bits(number: u64, shift in 0u32..64) {
            let number = number >> shift;
            let (token, width) = token(number);
            let (least, again) = least(token);
            prop_assert!(usize::from(token) < TOKENS);
            prop_assert_eq!(width, again);
            prop_assert!(least <= number && number - least < 1 << width);
        }
    }

    #[test]
    fn a_context_is_of_two_doublings_of_the_mean_and_of_whether_the_last_moved() {
        for (mean, context) in
            [(0, 0), (7, 0), (8, 2), (31, 2), (32, 4), (1 << 40, 38), (1 << 41, 40), (u64::MAX, 40)]
        {
            assert_eq!(Scale { mean, moved: false }.context(), context, "{mean}");
            assert_eq!(Scale { mean, moved: true }.context(), context + 1, "{mean}");
        }
    }

    #[test]
    fn every_context_is_within_the_table() {
        let mut scale = Scale::default();
        for number in [0, 1, 7, 1 << 20, u64::MAX, u64::MAX, 0] {
            (0..100).for_each(|_| scale.saw(number));
            assert!(scale.context() < CONTEXTS);
        }
    }
}

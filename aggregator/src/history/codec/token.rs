//! A remainder as a token, which says how large it is, and the raw bits below its leading two.

/// Distinct tokens: one for each number below 8, then two for each doubling.
pub(super) const TOKENS: usize = 130;

/// Numbers that are their own token.
const DIRECT: u64 = 8;

/// The token of a number, and how many raw bits follow it. Without a branch: which side of
/// [`DIRECT`] the next number is on is what can't be foretold.
#[inline]
#[expect(clippy::as_conversions, reason = "a token is below 130 and a width below 63")]
pub(super) fn token(number: u64) -> (u8, u32) {
    let is_large = DIRECT <= number;
    let exponent = 63 - (number | 1).leading_zeros();
    let width = if is_large { exponent - 1 } else { 0 };
    let doublings = if is_large { 2 * exponent } else { 0 };
    // What is left of a large number is its leading two bits: 2 or 3.
    ((number >> width) as u8 + doublings as u8, width)
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

/// Above this a number only counts as large.
const LARGE: u64 = 1 << 50;

impl Scale {
    /// The table to use for the next token.
    #[inline]
    #[expect(clippy::as_conversions, reason = "at most 41")]
    pub(super) fn context(self) -> usize {
        let bits = (64 - (self.mean >> 2).leading_zeros()).min(40);
        (bits & !1) as usize + usize::from(self.moved)
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
    fn every_context_is_within_the_table() {
        let mut scale = Scale::default();
        for number in [0, 1, 7, 1 << 20, u64::MAX, u64::MAX, 0] {
            (0..100).for_each(|_| scale.saw(number));
            assert!(scale.context() < CONTEXTS);
        }
    }
}

//! What remains of differences when their common divisor and their usual step are taken out.
//!
//! Memory moves in pages, cgroup v2 counts in microseconds, a burner uses the same time each tick.

use super::bytes::{
    Malformed, push_signed, push_varint, take_byte, take_signed, take_varint, unzigzag, zigzag,
};

/// How the differences of one series were made into numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::history) struct Measure {
    /// All differences are multiples of it; at least 1.
    pub(super) unit: u64,
    /// The usual step, in units.
    pub(super) step: i64,
    /// Whether numbers carry a sign: those of a counter need none.
    pub(super) signed: bool,
}

/// What a number costs, about, in bits: to compare ways to write the same.
pub(super) fn cost(number: i64) -> u64 {
    // Without a branch: whether a number is zero is what can't be foretold.
    u64::from(64 - number.unsigned_abs().leading_zeros()) + 3 * u64::from(number != 0)
}

impl Measure {
    /// The measure that suits the differences; `None` when all are zero. Turns the differences
    /// into units.
    pub(in crate::history) fn take_of(differences: &mut [i64]) -> Option<Self> {
        let Seen { bits, still, least } = Seen::of(differences);
        let unit = common_unit(differences, bits)?;
        let least = Divisor::new(unit).divide(least);
        divide(differences, unit);
        // A median other than zero needs that half of them move.
        let step = if 2 * still < differences.len() { usual_step(differences) } else { 0 };
        Some(Self { unit, step, signed: least < step })
    }

    /// A difference in units as a number without sign.
    #[inline]
    pub(in crate::history) fn number(&self, difference: i64) -> u64 {
        let past = difference.wrapping_sub(self.step);
        if self.signed { zigzag(past) } else { past.cast_unsigned() }
    }

    /// The difference that a number was.
    #[inline]
    pub(in crate::history) fn difference(&self, number: u64) -> i64 {
        let past = if self.signed { unzigzag(number) } else { number.cast_signed() };
        past.wrapping_add(self.step).wrapping_mul(self.unit.cast_signed())
    }

    /// Appends it: the power of two in the unit in one byte, the rest only where there is one.
    pub(in crate::history) fn push(&self, out: &mut Vec<u8>) {
        let twos = self.unit.trailing_zeros();
        let odd = self.unit >> twos;
        // Units above 2^31 have nothing in common with any metric: written in full.
        let (twos, odd) = if twos < 32 { (twos, odd) } else { (0, self.unit) };
        let flags = [odd != 1, self.step != 0, self.signed];
        let twos = u8::try_from(twos).unwrap_or(0);
        out.push(flags.into_iter().fold(twos, |head, flag| head << 1 | u8::from(flag)));
        if odd != 1 {
            push_varint(odd, out);
        }
        if self.step != 0 {
            push_signed(self.step, out);
        }
    }

    /// Takes one from the front.
    pub(in crate::history) fn take(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let head = take_byte(bytes, "a unit")?;
        let signed = head & 1 != 0;
        let twos = u32::from(head >> 3);
        let odd = if head & 4 == 0 { 1 } else { take_varint(bytes, "a unit")? };
        let step = if head & 2 == 0 { 0 } else { take_signed(bytes, "a step")? };
        let unit = odd.checked_mul(1 << twos).ok_or(Malformed::Range("a unit"))?;
        Ok(Self { unit, step, signed })
    }
}

/// Numbers whose median stands for that of all, about: a quarter, but at least this many, in runs
/// from all over the series, so that no rhythm hides.
const LOOKED_AT: usize = 64;
const QUARTER: usize = 4;
const RUN: usize = 8;

/// The median, where taking it out makes the numbers cheaper.
fn usual_step(differences: &[i64]) -> i64 {
    let apart = (differences.len() / LOOKED_AT).clamp(1, QUARTER);
    let runs = differences.chunks(apart * RUN);
    let mut looked_at: Vec<i64> =
        runs.flat_map(|places| places.iter().take(RUN)).copied().collect();
    if looked_at.is_empty() {
        return 0;
    }
    let middle = looked_at.len() / 2;
    let (_, median, _) = looked_at.select_nth_unstable(middle);
    let median = *median;
    // With a step, nearly every series needs a sign: one more bit each.
    let without: u64 = looked_at.iter().map(|one| cost(*one)).sum();
    let with = looked_at.iter().map(|one| match one.wrapping_sub(median) {
        0 => 0,
        past => cost(past) + 1,
    });
    if with.sum::<u64>() < without { median } else { 0 }
}

/// What one look at differences says.
struct Seen {
    /// All their bits together.
    bits: i64,
    /// How many are zero.
    still: usize,
    least: i64,
}

impl Seen {
    fn of(differences: &[i64]) -> Self {
        let (mut bits, mut still, mut least) = (0, 0, i64::MAX);
        for difference in differences {
            bits |= difference;
            still += usize::from(*difference == 0);
            least = least.min(*difference);
        }
        Self { bits, still, least }
    }
}

/// The greatest common divisor of differences, whose bits together are `bits`; `None` when all are
/// zero. Its power of two is that of the bits, and soon nothing else is left of it.
fn common_unit(differences: &[i64], bits: i64) -> Option<u64> {
    if bits == 0 {
        return None;
    }
    let mut moving = differences.iter().map(|one| one.unsigned_abs()).filter(|one| *one != 0);
    let odd_part = |amount: u64| amount >> amount.trailing_zeros();
    let mut odd = Divisor::new(odd_part(moving.next()?));
    while odd.unit != 1 {
        let Some(other) = moving.by_ref().find(|amount| !odd.divides(*amount)) else { break };
        odd = Divisor::new(common(odd_part(other), odd.unit));
    }
    Some(odd.unit << bits.trailing_zeros())
}

/// Divides differences, all of which are multiples of the unit.
fn divide(differences: &mut [i64], unit: u64) {
    let divisor = Divisor::new(unit);
    if divisor.inverse != 1 {
        differences.iter_mut().for_each(|one| *one = divisor.divide(*one));
    } else if divisor.twos != 0 {
        differences.iter_mut().for_each(|one| *one >>= divisor.twos);
    }
}

/// A number to divide by, where it is known that nothing is left over or that is the question: a
/// multiplication does, as an odd number has an inverse among words of 64 bits.
#[derive(Clone, Copy, Debug)]
struct Divisor {
    unit: u64,
    twos: u32,
    /// Of the odd part.
    inverse: u64,
    /// Multiples of the odd part, and they alone, times the inverse are at most this.
    most: u64,
}

impl Divisor {
    fn new(unit: u64) -> Self {
        let twos = unit.trailing_zeros();
        let odd = unit >> twos;
        // Right in its lowest three bits, and in twice as many after each step.
        let double =
            |inverse: u64| inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        let inverse = double(double(double(double(double(odd)))));
        Self { unit, twos, inverse, most: u64::MAX / odd }
    }

    /// Whether an amount is a multiple of the odd part.
    fn divides(&self, amount: u64) -> bool {
        amount.wrapping_mul(self.inverse) <= self.most
    }

    /// A multiple, divided.
    fn divide(&self, multiple: i64) -> i64 {
        (multiple >> self.twos).wrapping_mul(self.inverse.cast_signed())
    }
}

/// The greatest common divisor.
fn common(mut a: u64, mut b: u64) -> u64 {
    if b != 0 && a.is_multiple_of(b) {
        return b;
    }
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(differences: &[i64], unit: u64, step: i64, signed: bool) {
        let measure = Measure::take_of(&mut differences.to_vec());
        assert_eq!(measure, Some(Measure { unit, step, signed }), "{differences:?}");
    }

    #[test]
    fn units_steps_and_signs() {
        check(&[0, 4096, 8192, 0, 0], 4096, 0, false);
        check(&[0, 4096, -8192, 0, 0], 4096, 0, true);
        check(&[3_000_000, 3_001_000, 2_999_000], 1000, 3000, true);
        check(&[i64::MIN, 0, 0], 1 << 63, 0, true);
        assert_eq!(Measure::take_of(&mut [0, 0]), None);
    }

    proptest! {
        #[test]
        fn a_divisor_is_a_division(unit in 1u64..=1 << 40, times: i16, amount: u64) {
            let divisor = Divisor::new(unit);
            let multiple = i64::from(times) * unit.cast_signed();
            prop_assert_eq!(divisor.divide(multiple), i64::from(times));
            let odd = unit >> unit.trailing_zeros();
            prop_assert!(divisor.divides(multiple.unsigned_abs()));
            prop_assert_eq!(divisor.divides(amount), amount.is_multiple_of(odd));
        }

        #[test]
        fn differences_come_back(
            differences in prop::collection::vec(
                (any::<i64>(), 0u32..64, 1i64..5000)
                    .prop_map(|(bits, shift, unit)| (bits >> shift).wrapping_mul(unit)), 1..50)
        ) {
            let mut units = differences.clone();
            let Some(measure) = Measure::take_of(&mut units) else {
                prop_assert!(differences.iter().all(|one| *one == 0));
                return Ok(());
            };
            let mut bytes = Vec::new();
            measure.push(&mut bytes);
            let read = Measure::take(&mut bytes.as_slice());
            prop_assert_eq!(read, Ok(measure));
            for (one, was) in units.iter().zip(&differences) {
                prop_assert_eq!(measure.difference(measure.number(*one)), *was);
            }
        }
    }
}

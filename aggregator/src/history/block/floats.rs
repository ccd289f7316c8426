//! Doubles as integers that are near each other when the doubles are.
//!
//! Most doubles that people push are whole numbers or have a few decimals: those become the whole
//! numbers. Others become their bits, in the order of their values. Either way every bit pattern
//! comes back, NaN's and minus zero's too.
#![expect(
    clippy::as_conversions,
    reason = "whether a conversion lost anything is what is checked here"
)]

/// How doubles were made into integers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Not at all: the series is of integers.
    Integers,
    /// By their bits.
    Bits,
    /// By so many decimals.
    Decimals(u8),
}

/// Decimals that are tried.
const DECIMALS: [u8; 4] = [0, 1, 2, 3];

const POWERS: [f64; 4] = [1.0, 10.0, 100.0, 1000.0];

/// Whole numbers up to this are doubles without loss.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Doubles this large have no room for fractions, so that adding one and taking it away rounds
/// whatever is far below it. Which way halves go does not matter: they are no whole numbers.
const ROUNDER: f64 = 6_755_399_441_055_744.0;

/// What is far below it.
const ROUNDED: f64 = 2_251_799_813_685_248.0;

impl Form {
    /// The form of a series.
    pub(super) fn of(floating: bool, values: &[i64]) -> Self {
        if !floating {
            return Self::Integers;
        }
        let fits = |decimals: &u8| {
            let form = Self::Decimals(*decimals);
            values.iter().all(|bits| form.back(form.there(*bits)) == *bits)
        };
        DECIMALS.into_iter().find(|decimals| fits(decimals)).map_or(Self::Bits, Self::Decimals)
    }

    /// A value as it is coded.
    pub(super) fn there(self, value: i64) -> i64 {
        match self {
            Self::Integers => value,
            Self::Bits => ordered(value),
            Self::Decimals(decimals) => {
                let shifted = f64::from_bits(value.cast_unsigned()) * power(decimals);
                if shifted.abs() < ROUNDED {
                    return ((shifted + ROUNDER) - ROUNDER) as i64;
                }
                let shifted = shifted.round();
                if shifted.abs() < WHOLE { shifted as i64 } else { 0 }
            }
        }
    }

    /// A coded value as it was.
    pub(super) fn back(self, value: i64) -> i64 {
        match self {
            Self::Integers => value,
            Self::Bits => ordered(value),
            Self::Decimals(decimals) => (value as f64 / power(decimals)).to_bits().cast_signed(),
        }
    }

    /// As three bits.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Integers => 0,
            Self::Bits => 1,
            Self::Decimals(decimals) => 2 + decimals,
        }
    }

    /// From three bits.
    pub(super) fn of_code(code: u8) -> Self {
        match code {
            0 => Self::Integers,
            1 => Self::Bits,
            more => Self::Decimals(more - 2),
        }
    }
}

fn power(decimals: u8) -> f64 {
    POWERS.get(usize::from(decimals)).copied().unwrap_or_else(|| 10f64.powi(i32::from(decimals)))
}

/// Bits of a double in the order of the doubles; its own reverse.
fn ordered(bits: i64) -> i64 {
    bits ^ ((bits >> 63).cast_unsigned() >> 1).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(value: f64, form: Form) {
        assert_eq!(Form::of(true, &[value.to_bits().cast_signed()]), form, "{value}");
    }

    #[test]
    fn a_few_decimals_are_whole_numbers() {
        check(0.0, Form::Decimals(0));
        check(-17.0, Form::Decimals(0));
        check(12.75, Form::Decimals(2));
        check(0.001, Form::Decimals(3));
        check(1.0 / 3.0, Form::Bits);
        check(-0.0, Form::Bits);
        check(f64::NAN, Form::Bits);
        check(f64::INFINITY, Form::Bits);
        check(1e300, Form::Bits);
        for whole in [ROUNDED - 1.0, ROUNDED - 0.25, ROUNDED, ROUNDED + 1.0, 2.0 * ROUNDED + 1.0] {
            check(whole, if whole.fract() == 0.0 { Form::Decimals(0) } else { Form::Bits });
        }
    }

    proptest! {
        #[test]
        fn every_bit_pattern_comes_back(bits: Vec<i64>, halves: Vec<i16>, floating: bool) {
            for values in [bits, halves.iter().map(|half| {
                (f64::from(*half) / 2.0).to_bits().cast_signed()
            }).collect()] {
                let form = Form::of(floating, &values);
                prop_assert_eq!(Form::of_code(form.code()), form);
                for value in values {
                    prop_assert_eq!(form.back(form.there(value)), value);
                }
            }
        }
    }

    #[test]
    fn bits_are_in_the_order_of_doubles() {
        let doubles = [f64::NEG_INFINITY, -1.5, -0.0, 0.0, 1e-300, 2.0, f64::INFINITY];
        assert!(doubles.map(|one| ordered(one.to_bits().cast_signed())).is_sorted_by(|a, b| a < b));
    }
}

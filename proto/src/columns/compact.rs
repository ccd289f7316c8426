//! The values of one column, in as few bytes as they take: a model keeps the newest of every entity
//! for as long as it delivers.

use super::bits::GROUP;

/// What holds the values of one column, in the order of its entities.
pub trait ColumnValues: From<Vec<i64>> {
    /// How many there are.
    fn count(&self) -> usize;

    /// The value at `position`.
    fn at(&self, position: usize) -> Option<i64>;

    /// Appends all of them to `out`.
    fn append_to(&self, out: &mut Vec<i64>);

    /// All of them.
    fn all(&self) -> Vec<i64> {
        let mut all = Vec::with_capacity(self.count());
        self.append_to(&mut all);
        all
    }

    /// Makes of the value at `position` what `change` makes of it. `None` when there is none.
    fn change(&mut self, position: usize, change: impl Fn(i64) -> i64) -> Option<()>;

    /// Makes of each value from `first` on, one for each number of a group, what `change` makes of
    /// the two. `None` when there are not as many.
    fn change_group(
        &mut self,
        first: usize,
        numbers: &[u64],
        change: impl Fn(i64, u64) -> i64,
    ) -> Option<()>;
}

impl ColumnValues for Vec<i64> {
    fn count(&self) -> usize {
        self.len()
    }

    fn at(&self, position: usize) -> Option<i64> {
        self.get(position).copied()
    }

    fn append_to(&self, out: &mut Vec<i64>) {
        out.extend_from_slice(self);
    }

    fn change(&mut self, position: usize, change: impl Fn(i64) -> i64) -> Option<()> {
        let value = self.get_mut(position)?;
        *value = change(*value);
        Some(())
    }

    fn change_group(
        &mut self,
        first: usize,
        numbers: &[u64],
        change: impl Fn(i64, u64) -> i64,
    ) -> Option<()> {
        change_each(self, first, numbers, change)
    }
}

/// Values of half the size where they allow it: most are pages of memory, or count what is rare.
///
/// It is wider after a change that needs it, and as narrow as can be again when the layout changes.
#[derive(Clone, Debug)]
pub struct Compact(Width);

#[derive(Clone, Debug)]
enum Width {
    /// As many zeros.
    Zeros(usize),
    /// Multiples of a power of two, the `shift`-th, which with it fit 32 bits.
    Narrow { shift: u8, multiples: Box<[i32]> },
    /// Any values.
    Wide(Box<[i64]>),
}

impl Default for Compact {
    fn default() -> Self {
        Self(Width::Zeros(0))
    }
}

impl From<Vec<i64>> for Compact {
    fn from(values: Vec<i64>) -> Self {
        let ones = values.iter().fold(0, |ones, value| ones | value);
        if ones == 0 {
            return Self(Width::Zeros(values.len()));
        }
        let shift = zeros_at_end(ones);
        let multiples = values.iter().map(|value| multiple(*value, shift)).collect();
        Self(match multiples {
            Some(multiples) => Width::Narrow { shift, multiples },
            None => Width::Wide(values.into()),
        })
    }
}

impl PartialEq for Compact {
    fn eq(&self, other: &Self) -> bool {
        self.all() == other.all()
    }
}

impl ColumnValues for Compact {
    fn count(&self) -> usize {
        match &self.0 {
            Width::Zeros(count) => *count,
            Width::Narrow { multiples, .. } => multiples.len(),
            Width::Wide(values) => values.len(),
        }
    }

    fn at(&self, position: usize) -> Option<i64> {
        match &self.0 {
            Width::Zeros(count) => (position < *count).then_some(0),
            Width::Narrow { shift, multiples } => {
                multiples.get(position).map(|multiple| i64::from(*multiple) << shift)
            }
            Width::Wide(values) => values.get(position).copied(),
        }
    }

    fn append_to(&self, out: &mut Vec<i64>) {
        match &self.0 {
            Width::Zeros(count) => out.resize(out.len() + count, 0),
            Width::Narrow { shift, multiples } => {
                out.extend(multiples.iter().map(|multiple| i64::from(*multiple) << shift));
            }
            Width::Wide(values) => out.extend_from_slice(values),
        }
    }

    fn change(&mut self, position: usize, change: impl Fn(i64) -> i64) -> Option<()> {
        match &mut self.0 {
            Width::Narrow { shift, multiples } => {
                let place = multiples.get_mut(position)?;
                let value = change(i64::from(*place) << *shift);
                match multiple(value, *shift) {
                    Some(multiple) => *place = multiple,
                    None => self.put(position, value)?,
                }
            }
            Width::Wide(values) => {
                let value = values.get_mut(position)?;
                *value = change(*value);
            }
            Width::Zeros(count) => {
                let value = (position < *count).then(|| change(0))?;
                if value != 0 {
                    self.put(position, value)?;
                }
            }
        }
        Some(())
    }

    fn change_group(
        &mut self,
        first: usize,
        numbers: &[u64],
        change: impl Fn(i64, u64) -> i64,
    ) -> Option<()> {
        let end = first.checked_add(numbers.len())?;
        match &mut self.0 {
            Width::Wide(values) => return change_each(values, first, numbers, change),
            Width::Narrow { shift, multiples } => {
                if change_multiples(multiples.get_mut(first..end)?, *shift, numbers, &change)? {
                    return Some(());
                }
            }
            Width::Zeros(count) => (end <= *count).then_some(())?,
        }
        (first..)
            .zip(numbers)
            .try_for_each(|(place, number)| self.change(place, |value| change(value, *number)))
    }
}

impl Compact {
    /// Memory that its values take, in bytes.
    pub fn bytes(&self) -> usize {
        match &self.0 {
            Width::Zeros(_) => 0,
            Width::Narrow { multiples, .. } => size_of_val(&**multiples),
            Width::Wide(values) => size_of_val(&**values),
        }
    }

    /// Puts a value that it has no room for.
    #[cold]
    fn put(&mut self, position: usize, value: i64) -> Option<()> {
        let shift = zeros_at_end(value);
        let narrow = match &self.0 {
            Width::Zeros(count) => Some((shift, vec![0; *count].into())),
            // What does not fit though it is such a multiple is too large.
            Width::Narrow { shift: before, multiples } if shift < *before => {
                let finer = |one: &i32| multiple(i64::from(*one) << before, shift);
                multiples.iter().map(finer).collect::<Option<Box<[i32]>>>().map(|all| (shift, all))
            }
            Width::Narrow { .. } | Width::Wide(_) => None,
        };
        self.0 = match narrow.zip(multiple(value, shift)) {
            Some(((shift, mut multiples), multiple)) => {
                *multiples.get_mut(position)? = multiple;
                Width::Narrow { shift, multiples }
            }
            None => {
                let mut values = self.all();
                *values.get_mut(position)? = value;
                Width::Wide(values.into())
            }
        };
        Some(())
    }
}

fn change_each(
    values: &mut [i64],
    first: usize,
    numbers: &[u64],
    change: impl Fn(i64, u64) -> i64,
) -> Option<()> {
    let values = values.get_mut(first..first.checked_add(numbers.len())?)?;
    for (value, number) in values.iter_mut().zip(numbers) {
        *value = change(*value, *number);
    }
    Some(())
}

/// Whether what becomes of a group's values has room; else they stay.
#[inline]
#[expect(clippy::as_conversions, reason = "what is cut off is compared with what there was")]
fn change_multiples(
    multiples: &mut [i32],
    shift: u8,
    numbers: &[u64],
    change: impl Fn(i64, u64) -> i64,
) -> Option<bool> {
    let (mut changed, mut fits) = ([0; GROUP], true);
    for ((multiple, number), changed) in multiples.iter().zip(numbers).zip(&mut changed) {
        let value = change(i64::from(*multiple) << shift, *number);
        *changed = (value >> shift) as i32;
        fits &= i64::from(*changed) << shift == value;
    }
    if fits {
        multiples.copy_from_slice(changed.get(..numbers.len())?);
    }
    Some(fits)
}

/// How often a value can be halved.
fn zeros_at_end(value: i64) -> u8 {
    u8::try_from(value.trailing_zeros().min(63)).unwrap_or(0)
}

/// Which multiple of the `shift`-th power of two a value is, in 32 bits.
fn multiple(value: i64, shift: u8) -> Option<i32> {
    let multiple = value >> shift;
    i32::try_from(multiple).ok().filter(|_| multiple << shift == value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = i64> {
        let pages = (0i64..1 << 22).prop_map(|pages| pages << 12);
        let finer = (-9i64..9).prop_map(|blocks| blocks << 9);
        prop_oneof![6 => Just(0), 4 => pages, 2 => finer, 1 => any::<i64>(), 1 => any::<i8>().prop_map(i64::from)]
    }

    proptest! {
        #[test]
        fn it_holds_what_a_vector_holds(
            begin in prop::collection::vec(value(), 0..12),
            changes in prop::collection::vec((0usize..14, prop::collection::vec(value(), 0..9)), 0..12),
        ) {
            let (mut plain, mut compact) = (begin.clone(), Compact::from(begin));
            for (first, numbers) in changes {
                let numbers: Vec<u64> = numbers.into_iter().map(i64::cast_unsigned).collect();
                let add = |value: i64, number: u64| value.wrapping_add(number.cast_signed());
                let done = plain.change_group(first, &numbers, add);
                let same = match numbers[..] {
                    [number] => compact.change(first, |value| add(value, number)),
                    _ => compact.change_group(first, &numbers, add),
                };
                prop_assert_eq!(same, done);
                prop_assert_eq!(compact.all(), plain.clone());
                prop_assert_eq!(compact.count(), plain.len());
                for position in 0..14 {
                    prop_assert_eq!(compact.at(position), plain.at(position));
                }
                prop_assert_eq!(&compact, &Compact::from(plain.clone()));
            }
        }
    }

    /// After these sums, one after the other: the bytes of both values, and the power of two.
    #[track_caller]
    fn check(sums: &[i64], expected: (usize, u8)) {
        let mut compact = Compact::from(vec![0, 0]);
        for sum in sums {
            compact.change(1, |_| *sum).unwrap();
        }
        let shift = match compact.0 {
            Width::Narrow { shift, .. } => shift,
            Width::Zeros(_) | Width::Wide(_) => 0,
        };
        assert_eq!((compact.bytes(), shift), expected);
    }

    #[test]
    fn it_is_as_wide_as_it_must() {
        check(&[0], (0, 0));
        check(&[8192, 0], (8, 13));
        check(&[8192, 4096], (8, 12));
        check(&[8192, -1], (8, 0));
        check(&[1 << 43, 3 << 42], (8, 42));
        check(&[1 << 43, (1 << 43) + 1], (16, 0));
        check(&[1, 1 << 31], (16, 0));
        check(&[i64::MIN], (8, 63));
    }

    #[test]
    fn what_is_there_already_is_as_narrow_as_can_be() {
        let wide = Compact::from(vec![1, 1 << 40]);
        assert!(matches!(wide.0, Width::Wide(_)));
        let pages = Compact::from(vec![5 << 12, 1 << 40]);
        assert!(matches!(pages.0, Width::Narrow { shift: 12, .. }));
    }
}

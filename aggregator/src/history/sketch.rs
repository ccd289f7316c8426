//! How the values of a bucket are spread, in a few bytes, so that percentiles of many buckets
//! together are within 1 % of the true ones.
//!
//! A DDSketch: each value counts in a bin whose ends differ by 2 %, bins on either side of zero,
//! and one for zero. Sketches of several buckets are added bin by bin, which loses nothing. The
//! least and the greatest value are kept beside it, exactly. Written by hand since what matters is
//! bytes: of twenty values that hardly differ it takes about eight, and none when all are the same.

use super::codec::{
    Malformed,
    bytes::{push_length, push_signed, take_at_most, take_signed, take_varint},
};

/// Most that a percentile is wrong by, as a share of it.
pub const RELATIVE_ERROR: f64 = 0.01;

/// Ends of a bin: (1 + error) / (1 - error).
const GAMMA: f64 = (1.0 + RELATIVE_ERROR) / (1.0 - RELATIVE_ERROR);

/// Values nearer to zero count as zero: no metric has any.
const TINY: f64 = 1e-12;

/// Added to the number of a bin so that it is positive for every value from [`TINY`] up.
const SHIFT: i32 = 1_400;

/// The highest number of a bin, with the shift: that of the greatest double.
const HIGHEST: i32 = 37_000;

/// Bins of one bucket at most: more than its values span in any unit.
const BINS: usize = 75_000;

/// The bin of a value: 0 for zero, negative for negative values. `None` for what is no number.
#[expect(clippy::as_conversions, reason = "the logarithm of a double is at most 36,000 bins")]
pub fn bin(value: f64) -> Option<i32> {
    if value.is_nan() {
        return None;
    }
    let size = value.abs().min(f64::MAX);
    if size < TINY {
        return Some(0);
    }
    let number = (size.ln() / GAMMA.ln()).ceil() as i32 + SHIFT;
    let number = number.clamp(1, HIGHEST);
    Some(if value < 0.0 { -number } else { number })
}

/// The value in the middle of a bin.
pub fn middle(bin: i32) -> f64 {
    if bin == 0 {
        return 0.0;
    }
    let upper = GAMMA.powi(bin.abs() - SHIFT);
    let size = 2.0 * upper / (GAMMA + 1.0);
    if bin < 0 { -size } else { size }
}

/// Appends the sketch of a bucket. `bins` are those of all its values, in any order; nothing but a
/// zero is written when all are in one.
pub fn push(bins: &mut [i32], out: &mut Vec<u8>) {
    bins.sort_unstable();
    let runs = bins.chunk_by(|a, b| a == b);
    let count = runs.clone().count();
    push_length(if count == 1 { 0 } else { count }, out);
    if count < 2 {
        return;
    }
    let mut before = 0;
    for run in runs {
        let number = run.first().copied().unwrap_or(0);
        push_signed(i64::from(number) - before, out);
        before = i64::from(number);
        push_length(run.len(), out);
    }
}

/// Counts by bin of many buckets.
#[derive(Clone, Debug, Default)]
pub struct Spread {
    /// Number of the first bin.
    first: i32,
    counts: Vec<u64>,
    total: u64,
}

impl Spread {
    /// Counts values of a bin.
    pub fn add(&mut self, bin: i32, count: u64) {
        let bin = bin.clamp(-HIGHEST, HIGHEST);
        if self.counts.is_empty() {
            self.first = bin;
        }
        if bin < self.first {
            let more = usize::try_from(self.first - bin).unwrap_or(0);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bin;
        }
        let place = usize::try_from(bin - self.first).unwrap_or(0);
        if self.counts.len() <= place {
            self.counts.resize(place + 1, 0);
        }
        if let Some(counted) = self.counts.get_mut(place) {
            *counted = counted.saturating_add(count);
        }
        self.total = self.total.saturating_add(count);
    }

    /// Counts so many equal values.
    pub fn add_value(&mut self, value: f64, count: u64) {
        if let Some(bin) = bin(value) {
            self.add(bin, count);
        }
    }

    /// Takes the sketch of one bucket from the front and counts it. `all` is the number of values
    /// of the bucket, and `least` the least: what there is when all are in one bin.
    pub fn take(&mut self, bytes: &mut &[u8], all: u64, least: f64) -> Result<(), Malformed> {
        let count = take_at_most(bytes, BINS, "the bins of a sketch")?;
        if count == 0 {
            self.add_value(least, all);
        }
        let mut bin = 0i32;
        for _ in 0..count {
            let step = i32::try_from(take_signed(bytes, "a bin")?).ok();
            let next = step.and_then(|step| bin.checked_add(step));
            bin = next.ok_or(Malformed::Range("a bin"))?;
            self.add(bin, take_varint(bytes, "the count of a bin")?);
        }
        Ok(())
    }

    /// Passes over the sketch of one bucket.
    pub fn skip(bytes: &mut &[u8]) -> Result<(), Malformed> {
        for _ in 0..take_at_most(bytes, BINS, "the bins of a sketch")? {
            take_signed(bytes, "a bin")?;
            take_varint(bytes, "the count of a bin")?;
        }
        Ok(())
    }

    /// The value of which `rank` are less or equal, counted from 1: within 1 % of the true one.
    pub fn at_rank(&self, rank: u64) -> Option<f64> {
        let mut seen = 0u64;
        let bins = (self.first..).zip(&self.counts);
        let mut reached = bins.filter(|(_, count)| {
            seen = seen.saturating_add(**count);
            **count != 0 && rank <= seen
        });
        reached.next().map(|(bin, _)| middle(bin))
    }

    /// How many values are counted.
    pub fn total(&self) -> u64 {
        self.total
    }
}

#[cfg(test)]
#[expect(clippy::as_conversions, reason = "small numbers of a plain calculation")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sketched(values: &[f64]) -> Vec<u8> {
        let mut bins: Vec<i32> = values.iter().filter_map(|value| bin(*value)).collect();
        let mut bytes = Vec::new();
        push(&mut bins, &mut bytes);
        bytes
    }

    fn near(found: f64, exact: f64) -> bool {
        (found - exact).abs() <= exact.abs() * (RELATIVE_ERROR + 1e-9) + TINY
    }

    proptest! {
        #[test]
        fn ranks_over_many_buckets_are_within_a_hundredth(
            buckets in prop::collection::vec(
                prop::collection::vec(prop_oneof![
                    -1e6..1e6, Just(0.0), (1u64..1_000_000_000_000).prop_map(|n| n as f64)
                ], 1..30), 1..20)
        ) {
            let mut spread = Spread::default();
            for bucket in &buckets {
                let least = bucket.iter().copied().fold(f64::INFINITY, f64::min);
                let bytes = sketched(bucket);
                let mut rest = bytes.as_slice();
                spread.take(&mut rest, bucket.len() as u64, least).unwrap();
                prop_assert!(rest.is_empty());
            }
            let mut all: Vec<f64> = buckets.concat();
            all.sort_by(f64::total_cmp);
            prop_assert_eq!(spread.total(), all.len() as u64);
            for (rank, exact) in (1..).zip(&all) {
                let found = spread.at_rank(rank).unwrap();
                prop_assert!(near(found, *exact), "rank {rank}: {found}, not {exact}");
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, all: u64, least: f64) {
            let _unread = Spread::default().take(&mut bytes.as_slice(), all, least);
            let _unread = Spread::skip(&mut bytes.as_slice());
        }
    }

    #[test]
    fn the_ends_of_doubles_have_bins() {
        for value in [f64::MAX, f64::MIN, f64::INFINITY, f64::MIN_POSITIVE, -0.0] {
            let bin = bin(value).unwrap();
            assert!((-HIGHEST..=HIGHEST).contains(&bin), "{value}: {bin}");
        }
        assert_eq!(bin(f64::NAN), None);
    }

    #[test]
    fn twenty_values_that_hardly_differ_take_few_bytes() {
        let values: Vec<f64> = (0..20).map(|n| 1e9 + f64::from(n % 7) * 1e7).collect();
        assert!(sketched(&values).len() <= 14, "{}", sketched(&values).len());
        assert_eq!(sketched(&[5.0; 20]), [0]);
    }
}

//! How often each token follows in each context: counted when a block is written, kept in it.
#![expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the innermost loops of every block: contexts, tokens and slots are below the lengths \
              of their tables, as `normalise` and `take` make sure"
)]

use super::{
    bytes::{Malformed, push_varint, take_at_most, take_byte},
    token::{CONTEXTS, TOKENS, least},
};

/// Frequencies of a context add up to two to this power. More makes rare tokens a little cheaper
/// and tables dearer to build at each read: 11 was the least bytes, 10 was 0.3 % more.
pub(super) const SCALE_BITS: u32 = 11;
const SCALE: u32 = 1 << SCALE_BITS;

/// How often each token was seen in each context.
#[derive(Clone, Debug)]
pub(in crate::history) struct Counts(Vec<u32>);

impl Default for Counts {
    fn default() -> Self {
        Self(vec![0; CONTEXTS * TOKENS])
    }
}

impl Counts {
    /// Counts one, by context times [`TOKENS`] and token.
    #[inline]
    pub(super) fn add(&mut self, mark: usize) {
        self.0[mark] += 1;
    }

    /// The table set that fits them.
    pub(in crate::history) fn model(&self) -> Model {
        Model { tables: self.0.chunks_exact(TOKENS).map(normalise).collect() }
    }
}

/// Frequency and sum of the frequencies before, of one token in one context.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::history) struct Share {
    pub(super) frequency: u16,
    pub(super) before: u16,
}

/// What writing a token makes of the state, by a multiplication where there would be a division.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::history) struct Step {
    /// Two to the power of [`RECIPROCAL_BITS`] over the frequency, rounded up.
    reciprocal: u64,
    /// What the frequency lacks to [`SCALE`].
    others: u32,
    before: u32,
}

/// The reciprocal is above the true one by less than one; times a state of 32 bits and a frequency
/// of at most [`SCALE`] that is less than two to this power, so quotients are exact. States are below
/// the frequency times two to the power of 32 less [`SCALE_BITS`], so products fit 64 bits.
const RECIPROCAL_BITS: u32 = 32 + SCALE_BITS;

impl Step {
    fn new(share: Share) -> Self {
        let frequency = u32::from(share.frequency);
        Self {
            reciprocal: (1u64 << RECIPROCAL_BITS).div_ceil(u64::from(frequency.max(1))),
            others: SCALE - frequency,
            before: u32::from(share.before),
        }
    }

    /// Whether a state is too large for the token, so that its low word must be written first.
    #[inline]
    pub(super) fn is_beyond(&self, state: u32) -> bool {
        SCALE - self.others <= state >> (32 - SCALE_BITS)
    }

    /// The state after the token. One that is [beyond](Self::is_beyond) must not come here.
    #[inline]
    pub(super) fn of(&self, state: u32) -> u32 {
        let times = (u64::from(state) * self.reciprocal) >> RECIPROCAL_BITS;
        state + self.before + times as u32 * self.others
    }
}

/// One context: tokens that occur, ascending, with their shares.
type Table = Vec<(u8, Share)>;

/// A table set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::history) struct Model {
    tables: Vec<Table>,
}

/// Frequencies that add up to [`SCALE`], none of them zero.
fn normalise(counts: &[u32]) -> Table {
    let total: u64 = counts.iter().map(|count| u64::from(*count)).sum();
    let mut table: Table = Vec::new();
    if total == 0 {
        return table;
    }
    let mut left = i64::from(SCALE);
    for (token, count) in (0u8..).zip(counts).filter(|(_, count)| **count != 0) {
        let share = (u64::from(*count) * u64::from(SCALE) + total / 2) / total;
        let frequency = share.clamp(1, u64::from(SCALE)) as u16;
        left -= i64::from(frequency);
        table.push((token, Share { frequency, before: 0 }));
    }
    // Rounding is made good at the most frequent tokens, where it costs least.
    while left != 0 {
        let largest = table.iter_mut().max_by_key(|(_, share)| share.frequency);
        let Some((_, share)) = largest else { break };
        let step = left.max(-i64::from(share.frequency / 2));
        share.frequency = (i64::from(share.frequency) + step) as u16;
        left -= step;
    }
    accumulate(&mut table);
    table
}

fn accumulate(table: &mut Table) {
    let mut before = 0;
    for (_, share) in table {
        share.before = before;
        before = before.wrapping_add(share.frequency);
    }
}

impl Model {
    /// Appends it.
    pub(in crate::history) fn push(&self, out: &mut Vec<u8>) {
        for table in &self.tables {
            out.push(table.len() as u8);
            let mut next = 0;
            for (token, _) in table {
                out.push(token - next);
                next = token + 1;
            }
            // The last follows from the sum.
            for (_, share) in table.iter().take(table.len().saturating_sub(1)) {
                push_varint(u64::from(share.frequency), out);
            }
        }
    }

    /// Takes one from the front.
    pub(in crate::history) fn take(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let mut tables = Vec::with_capacity(CONTEXTS);
        for _ in 0..CONTEXTS {
            tables.push(take_table(bytes)?);
        }
        Ok(Self { tables })
    }

    /// What each token does to the state, by mark, for writing.
    pub(in crate::history) fn steps(&self) -> Vec<Step> {
        let mut steps = vec![Step::default(); CONTEXTS * TOKENS];
        for (context, table) in self.tables.iter().enumerate() {
            for (token, share) in table {
                steps[context * TOKENS + usize::from(*token)] = Step::new(*share);
            }
        }
        steps
    }

    /// Tables by slot, for reading.
    pub(in crate::history) fn decoder(&self) -> Decoder {
        let spread = |table: &Table| {
            if table.is_empty() {
                return None;
            }
            let mut laid = Box::new(Slots::default());
            let mut next = 0;
            for (place, (token, share)) in table.iter().enumerate() {
                let end = next + usize::from(share.frequency);
                laid.places[next..end].fill(place as u8);
                next = end;
                let (least, width) = least(*token);
                laid.tokens[place] = Laid { least, share: *share, width: width as u8 };
            }
            Some(laid)
        };
        Decoder { tables: self.tables.iter().map(spread).collect() }
    }
}

fn take_table(bytes: &mut &[u8]) -> Result<Table, Malformed> {
    let length = usize::from(take_byte(bytes, "tokens of a context")?);
    let mut table: Table = Vec::with_capacity(length);
    let mut next = 0usize;
    for _ in 0..length {
        let token = next + usize::from(take_byte(bytes, "a token")?);
        if TOKENS <= token {
            return Err(Malformed::Range("a token"));
        }
        next = token + 1;
        table.push((token as u8, Share::default()));
    }
    let mut left = SCALE as usize;
    if let Some((last, others)) = table.split_last_mut() {
        for (_, share) in others {
            let frequency = take_at_most(bytes, left, "a frequency")?;
            left -= frequency;
            if frequency == 0 || left == 0 {
                return Err(Malformed::Range("a frequency"));
            }
            share.frequency = frequency as u16;
        }
        last.1.frequency = left as u16;
    }
    accumulate(&mut table);
    Ok(table)
}

/// A table set, laid out for reading. Fixed lengths, so that no index needs a check.
#[derive(Clone, Debug)]
pub(in crate::history) struct Decoder {
    tables: Vec<Option<Box<Slots>>>,
}

/// One context: the place of the token at each slot, and the tokens.
#[derive(Clone, Debug)]
struct Slots {
    places: [u8; SCALE as usize],
    tokens: [Laid; 256],
}

impl Default for Slots {
    fn default() -> Self {
        Self { places: [0; SCALE as usize], tokens: [Laid::default(); 256] }
    }
}

/// A token as it is read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Laid {
    /// Its least number.
    pub(super) least: u64,
    pub(super) share: Share,
    /// Raw bits that follow.
    pub(super) width: u8,
}

impl Decoder {
    /// The token of a state. `None` in a context that was never seen.
    #[inline]
    pub(super) fn at(&self, context: usize, state: u32) -> Option<&Laid> {
        let slots = self.tables[context].as_ref()?;
        let place = slots.places[(state & (SCALE - 1)) as usize];
        Some(&slots.tokens[usize::from(place)])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn frequencies_always_fill_the_scale(
            seen in prop::collection::vec((0u8..130, 1u32..3_000_000), 0..130)
        ) {
            let mut counts = [0; TOKENS];
            for (token, count) in seen {
                counts[usize::from(token)] = count;
            }
            let table = normalise(&counts);
            let sum: u32 = table.iter().map(|(_, share)| u32::from(share.frequency)).sum();
            prop_assert_eq!(sum, if table.is_empty() { 0 } else { SCALE });
            prop_assert!(table.iter().all(|(_, share)| share.frequency != 0));
        }

        #[test]
        fn a_step_is_a_division(frequency in 1u32..=SCALE, state: u32, before: u16) {
            let below = frequency << (32 - SCALE_BITS);
            let state = if below == 0 { state } else { state % below };
            let before = u32::from(before) % (SCALE - frequency + 1);
            let step = Step::new(Share { frequency: frequency as u16, before: before as u16 });
            prop_assert!(!step.is_beyond(state));
            for state in [state, below.wrapping_sub(1)] {
                let (times, rest) = (state / frequency, state % frequency);
                prop_assert_eq!(step.of(state), (times << SCALE_BITS) + rest + before);
            }
        }

        #[test]
        fn a_model_comes_back(
            seen in prop::collection::vec((0usize..CONTEXTS, 0u8..130), 0..300)
        ) {
            let mut counts = Counts::default();
            seen.iter().for_each(|(context, token)| counts.add(context * TOKENS + usize::from(*token)));
            let model = counts.model();
            let mut bytes = Vec::new();
            model.push(&mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(Model::take(&mut rest), Ok(model));
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn arbitrary_bytes_are_a_model_that_fills_its_scale_or_none(bytes: Vec<u8>) {
            if let Ok(model) = Model::take(&mut bytes.as_slice()) {
                for table in &model.tables {
                    let sum: u32 = table.iter().map(|(_, one)| u32::from(one.frequency)).sum();
                    prop_assert!(table.is_empty() || sum == SCALE);
                }
                model.decoder();
            }
        }
    }
}

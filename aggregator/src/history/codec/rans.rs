//! Asymmetric numeral systems: tokens to words and back, at the cost that a model says.
//!
//! One state of 32 bits, words of 16 bits. Written backwards, so that it is read forwards. The raw
//! bits of the numbers are in a second stream behind the words.
#![expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the innermost loops of every block: contexts and tokens are below the lengths of \
              their tables, and the casts keep the low bits on purpose"
)]

use super::{
    bytes::{Malformed, push_length, take_at_most, take_slice},
    model::{Counts, Decoder, SCALE_BITS, Step},
    token::{Scale, TOKENS, token},
};

/// The least state: below it a word is taken in.
const LEAST: u32 = 1 << 16;

/// What each token does to the state in each context, by mark.
pub(in crate::history) type Steps = Vec<Step>;

/// Numbers as what is coded of them.
#[derive(Clone, Debug, Default)]
pub(in crate::history) struct Tokens {
    /// Context and token of each number in one.
    marks: Vec<u16>,
    /// Raw bits of the numbers.
    whole: Vec<u8>,
    /// The last of them.
    raw: RawBits,
}

impl Tokens {
    /// The tokens of the numbers; counts them for the model that they will be written with.
    pub(in crate::history) fn of(
        numbers: impl ExactSizeIterator<Item = u64>,
        counts: &mut Counts,
    ) -> Self {
        // A loop over what is here, so that all of it is kept in registers: what a closure holds by
        // reference was in memory, and each number waited for the one before.
        let mut marks = vec![0; numbers.len()];
        let (mut scale, mut raw) = (Scale::default(), RawBits::default());
        let mut whole = Vec::new();
        for (slot, number) in marks.iter_mut().zip(numbers) {
            let (token, width) = token(number);
            let mark = scale.context() * TOKENS + usize::from(token);
            counts.add(mark);
            scale.saw(number);
            if let Some(full) = raw.push(number & ((1 << width) - 1), width) {
                whole.extend_from_slice(&full.to_le_bytes());
            }
            *slot = mark as u16;
        }
        Self { marks, whole, raw }
    }
}

/// How many streams are made at once. A state waits for itself at every token, some ten cycles,
/// in which the processor has room for those of others.
pub(in crate::history) const LANES: usize = 2;

/// Streams that are written one after the other, and room that is kept from call to call.
#[derive(Debug, Default)]
pub(in crate::history) struct Streams {
    words: [Vec<u16>; LANES],
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<usize>,
}

impl Streams {
    /// Appends the streams of some tokens. Their steps are of models that have counted every one of
    /// them.
    pub(in crate::history) fn push_all(&mut self, all: &[(&Tokens, &Steps)]) {
        let (groups, rest) = all.as_chunks::<LANES>();
        for group in groups {
            self.push_lanes(*group);
        }
        for one in rest {
            self.push_lanes([*one]);
        }
    }

    /// The streams, in the order in which they came.
    pub(in crate::history) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        self.ends.iter().zip(begins).map(|(end, begin)| &self.bytes[begin..*end])
    }

    /// Lets go of all streams, and keeps the room.
    pub(in crate::history) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    fn push_lanes<const N: usize>(&mut self, lanes: [(&Tokens, &Steps); N]) {
        for ((tokens, _), words) in lanes.iter().zip(&mut self.words) {
            words.clear();
            words.resize(tokens.marks.len(), 0);
        }
        let (mut states, mut counts) = ([LEAST; N], [0; N]);
        let together = lanes.iter().map(|(tokens, _)| tokens.marks.len()).min().unwrap_or(0);
        let ends: [&[u16]; N] = lanes.map(|(tokens, _)| {
            let marks = tokens.marks.as_slice();
            &marks[marks.len() - together..]
        });
        for at in (0..together).rev() {
            for lane in 0..N {
                let step = &lanes[lane].1[usize::from(ends[lane][at])];
                counts[lane] += lay(step, &mut states[lane], &mut self.words[lane][counts[lane]]);
            }
        }
        for lane in 0..N {
            let (tokens, steps) = lanes[lane];
            let (mut state, mut count) = (states[lane], counts[lane]);
            let words = self.words[lane].as_mut_slice();
            for mark in tokens.marks[..tokens.marks.len() - together].iter().rev() {
                count += lay(&steps[usize::from(*mark)], &mut state, &mut words[count]);
            }
            push_length(count, &mut self.bytes);
            self.bytes.extend_from_slice(&state.to_le_bytes());
            self.bytes.extend(words[..count].iter().rev().flat_map(|word| word.to_le_bytes()));
            self.bytes.extend_from_slice(&tokens.whole);
            tokens.raw.append_to(&mut self.bytes);
            self.ends.push(self.bytes.len());
        }
    }
}

/// Codes a token. A word is laid down at every one and stays where the state had one too many, for
/// which this gives 1: whether it has can't be foretold, so a branch would be wrong often.
#[inline]
fn lay(step: &Step, state: &mut u32, slot: &mut u16) -> usize {
    *slot = *state as u16;
    let has_word = step.is_beyond(*state);
    *state = step.of(if has_word { *state >> 16 } else { *state });
    usize::from(has_word)
}

/// Bits one after the other, lowest first, as long as they do not fill a word.
#[derive(Clone, Copy, Debug, Default)]
struct RawBits {
    held: u64,
    held_bits: u32,
}

impl RawBits {
    /// Adds bits. Gives the word that they fill.
    #[inline]
    fn push(&mut self, bits: u64, width: u32) -> Option<u64> {
        let word = self.held | bits << self.held_bits;
        let filled = self.held_bits + width;
        if filled < 64 {
            *self = Self { held: word, held_bits: filled };
            return None;
        }
        let held_bits = filled - 64;
        // The first bit that did not fit is at this place of `bits`.
        *self = Self { held: bits >> (width - held_bits), held_bits };
        Some(word)
    }

    fn append_to(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.held.to_le_bytes()[..self.held_bits.div_ceil(8) as usize]);
    }
}

/// Reads `count` numbers of a stream and gives each to `each`.
pub(in crate::history) fn decode(
    mut bytes: &[u8],
    count: usize,
    decoder: &Decoder,
    mut each: impl FnMut(u64),
) -> Result<(), Malformed> {
    let most = bytes.len() / 2;
    let words = take_at_most(&mut bytes, most, "the number of words")?;
    let state = take_slice(&mut bytes, 4, "the state")?;
    let mut state = u32::from_le_bytes([state[0], state[1], state[2], state[3]]);
    let mut words = take_slice(&mut bytes, words * 2, "the words")?.chunks_exact(2);
    let mut raw = Raw::new(bytes);
    let mut scale = Scale::default();
    for _ in 0..count {
        let laid = decoder.at(scale.context(), state).ok_or(Malformed::Range("a context"))?;
        let slot = state & ((1 << SCALE_BITS) - 1);
        state = (u32::from(laid.share.frequency) * (state >> SCALE_BITS))
            .wrapping_add(slot)
            .wrapping_sub(u32::from(laid.share.before));
        if state < LEAST {
            let word = words.next().ok_or(Malformed::Short("the words"))?;
            state = state << 16 | u32::from(u16::from_le_bytes([word[0], word[1]]));
        }
        let mut number = laid.least;
        if laid.width != 0 {
            number |= raw.take(u32::from(laid.width)).ok_or(Malformed::Short("the raw bits"))?;
        }
        scale.saw(number);
        each(number);
    }
    Ok(())
}

/// Raw bits, read at any place with one or two words.
struct Raw {
    /// The bytes, and sixteen more.
    padded: Vec<u8>,
    at: usize,
    end: usize,
}

impl Raw {
    fn new(bytes: &[u8]) -> Self {
        let mut padded = Vec::with_capacity(bytes.len() + 16);
        padded.extend_from_slice(bytes);
        padded.extend_from_slice(&[0; 16]);
        Self { padded, at: 0, end: bytes.len() * 8 }
    }

    /// So many bits, at most 62.
    #[inline]
    fn take(&mut self, width: u32) -> Option<u64> {
        let (byte, bit) = (self.at / 8, self.at % 8);
        self.at += width as usize;
        if self.end < self.at {
            return None;
        }
        let word =
            |at: usize| Some(u64::from_le_bytes(*self.padded.get(at..)?.first_chunk::<8>()?));
        let mut bits = word(byte)? >> bit;
        if 64 < bit + width as usize {
            bits |= word(byte + 8)? << (64 - bit);
        }
        Some(bits & ((1 << width) - 1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::history::codec::model::{Counts, Model};

    fn stream(numbers: &[u64]) -> (Model, Vec<u8>) {
        let mut counts = Counts::default();
        let tokens = Tokens::of(numbers.iter().copied(), &mut counts);
        let model = counts.model();
        let mut streams = Streams::default();
        streams.push_all(&[(&tokens, &model.steps())]);
        (model, streams.bytes)
    }

    fn numbers() -> impl Strategy<Value = Vec<u64>> {
        let number = (any::<u64>(), 0u32..66);
        let number = number.prop_map(|(number, shift)| number.checked_shr(shift).unwrap_or(0));
        prop::collection::vec(number, 0..300)
    }

    proptest! {
        #[test]
        fn numbers_come_back(numbers in numbers()) {
            let (model, bytes) = stream(&numbers);
            let mut back = Vec::new();
            decode(&bytes, numbers.len(), &model.decoder(), |number| back.push(number)).unwrap();
            prop_assert_eq!(back, numbers);
        }

        #[test]
        fn arbitrary_bytes_never_panic(numbers in numbers(), bytes: Vec<u8>, count in 0usize..500) {
            let (model, _) = stream(&numbers);
            let _unread = decode(&bytes, count, &model.decoder(), |_| ());
        }
    }

    proptest! {
        #[test]
        fn streams_side_by_side_are_those_that_each_alone_is(
            all in prop::collection::vec(numbers(), 0..6)
        ) {
            let mut counts = [Counts::default(), Counts::default()];
            let tokens = all.iter().enumerate().map(|(place, numbers)| {
                Tokens::of(numbers.iter().copied(), &mut counts[place % 2])
            });
            let tokens: Vec<Tokens> = tokens.collect();
            let steps = counts.each_ref().map(|counts| counts.model().steps());
            let with_steps = tokens.iter().zip(steps.iter().cycle());
            let with_steps: Vec<(&Tokens, &Steps)> = with_steps.collect();
            let (mut together, mut alone) = (Streams::default(), Streams::default());
            together.push_all(&with_steps);
            with_steps.iter().for_each(|one| alone.push_all(std::slice::from_ref(one)));
            prop_assert_eq!(together.iter().collect::<Vec<_>>(), alone.iter().collect::<Vec<_>>());
            for ((stream, numbers), place) in together.iter().zip(&all).zip(0..) {
                let (decoder, mut back) = (counts[place % 2].model().decoder(), Vec::new());
                decode(stream, numbers.len(), &decoder, |number| back.push(number)).unwrap();
                prop_assert_eq!(&back, numbers);
            }
        }
    }

    #[test]
    fn what_does_not_move_takes_almost_nothing() {
        assert!(stream(&vec![0; 100_000]).1.len() < 16);
    }
}

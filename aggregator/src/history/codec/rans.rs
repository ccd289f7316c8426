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
    raw: RawBits,
}

impl Tokens {
    /// The tokens of the numbers; counts them for the model that they will be written with.
    pub(in crate::history) fn of(numbers: impl Iterator<Item = u64>, counts: &mut Counts) -> Self {
        let mut tokens =
            Self { marks: Vec::with_capacity(numbers.size_hint().0), raw: RawBits::default() };
        let mut scale = Scale::default();
        tokens.marks.extend(numbers.map(|number| {
            let (token, width) = token(number);
            let mark = scale.context() * TOKENS + usize::from(token);
            counts.add(mark);
            scale.saw(number);
            tokens.raw.push(number & ((1 << width) - 1), width);
            mark as u16
        }));
        tokens
    }

    /// Appends the stream. `steps` are of a model that has counted every one of them; `words` is
    /// room that is kept from series to series.
    pub(in crate::history) fn encode(
        &self,
        steps: &Steps,
        words: &mut Vec<u16>,
        out: &mut Vec<u8>,
    ) {
        // A word is laid down at every token and stays where the state had one too many: whether it
        // has can't be foretold, so a branch would be wrong often.
        words.clear();
        words.resize(self.marks.len(), 0);
        let (mut state, mut count) = (LEAST, 0);
        for mark in self.marks.iter().rev() {
            let step = &steps[usize::from(*mark)];
            words[count] = state as u16;
            let has_word = step.is_beyond(state);
            count += usize::from(has_word);
            state = step.of(if has_word { state >> 16 } else { state });
        }
        let words = &words[..count];
        push_length(words.len(), out);
        out.extend_from_slice(&state.to_le_bytes());
        out.extend(words.iter().rev().flat_map(|word| word.to_le_bytes()));
        self.raw.append_to(out);
    }
}

/// Bits one after the other, lowest first.
#[derive(Clone, Debug, Default)]
struct RawBits {
    whole: Vec<u8>,
    held: u64,
    held_bits: u32,
}

impl RawBits {
    #[inline]
    fn push(&mut self, bits: u64, width: u32) {
        self.held |= bits << self.held_bits;
        let filled = self.held_bits + width;
        if filled < 64 {
            self.held_bits = filled;
            return;
        }
        self.whole.extend_from_slice(&self.held.to_le_bytes());
        self.held_bits = filled - 64;
        // The first bit that did not fit is at this place of `bits`.
        self.held = bits >> (width - self.held_bits);
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.whole);
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
        let (model, mut bytes) = (counts.model(), Vec::new());
        tokens.encode(&model.steps(), &mut Vec::new(), &mut bytes);
        (model, bytes)
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

    #[test]
    fn what_does_not_move_takes_almost_nothing() {
        assert!(stream(&vec![0; 100_000]).1.len() < 16);
    }
}

//! Records in a file that may end anywhere: each says how long it is and carries a checksum.
//!
//! ```text
//! record = length: u32, checksum: u32, payload: length bytes        (numbers little-endian)
//! ```
//! The checksum is the CRC-32 of the length's four bytes and the payload, so a length that was
//! damaged is noticed too, and a stretch of zeros, which some file systems leave after a power
//! loss, is no empty record. Records are read in order up to the first that is not whole; what
//! follows it can't be found, because nothing else says where a record begins.
//!
//! Nothing here opens a file. A record is written by one `write` of what [`append`] made, and
//! read by [`Records`] from the whole file's bytes, without a copy.

use crate::limits::MESSAGE_BYTES;

/// Bytes before the payload.
pub const HEAD_BYTES: usize = 8;

/// Bytes of a payload: a message of the wire, and room for what is kept beside it. A length
/// beyond this is damage, whatever follows.
pub const PAYLOAD_BYTES: usize = MESSAGE_BYTES + 4096;

/// A payload that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {bytes} bytes, at most {PAYLOAD_BYTES} are allowed")]
pub struct TooLong {
    /// Its length.
    pub bytes: usize,
}

/// Appends a record whose payload `write` appends. `out` is as before when it is too long.
pub fn append(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), TooLong> {
    let start = out.len();
    out.extend_from_slice(&[0; HEAD_BYTES]);
    write(out);
    let bytes = out.len().saturating_sub(start + HEAD_BYTES);
    let length = u32::try_from(bytes).ok().filter(|_| bytes <= PAYLOAD_BYTES);
    let (Some(length), Some((head, payload))) =
        (length, out.get_mut(start..).and_then(|record| record.split_at_mut_checked(HEAD_BYTES)))
    else {
        out.truncate(start);
        return Err(TooLong { bytes });
    };
    let length = length.to_le_bytes();
    let checksum = checksum(length, payload).to_le_bytes();
    for (byte, value) in head.iter_mut().zip(length.into_iter().chain(checksum)) {
        *byte = value;
    }
    Ok(())
}

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// After a whole record: nothing is missing that these bytes could tell of.
    Whole,
    /// Within a record: the bytes end before it does, as after a crash while it was written.
    Torn,
    /// At a record whose checksum is wrong, or whose length no record has.
    Damaged,
}

/// The payloads of the records in `bytes`, in order, up to the first that is not whole.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    at: usize,
    end: Option<End>,
}

impl<'a> Records<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0, end: None }
    }

    /// How many bytes hold whole records so far: the place to cut a file that goes on badly.
    pub fn whole_bytes(&self) -> usize {
        self.at
    }

    /// Why there are no more; `None` while there may be some.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    fn read(&self) -> Result<&'a [u8], End> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        if rest.is_empty() {
            return Err(End::Whole);
        }
        let (length, rest) = rest.split_first_chunk::<4>().ok_or(End::Torn)?;
        let bytes = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| End::Damaged)?;
        if PAYLOAD_BYTES < bytes {
            return Err(End::Damaged);
        }
        let (stored, rest) = rest.split_first_chunk::<4>().ok_or(End::Torn)?;
        let payload = rest.get(..bytes).ok_or(End::Torn)?;
        if u32::from_le_bytes(*stored) == checksum(*length, payload) {
            Ok(payload)
        } else {
            Err(End::Damaged)
        }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.end.is_some() {
            return None;
        }
        match self.read() {
            Ok(payload) => {
                self.at += HEAD_BYTES + payload.len();
                Some(payload)
            }
            Err(end) => {
                self.end = Some(end);
                None
            }
        }
    }
}

fn checksum(length: [u8; 4], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&length);
    hasher.update(payload);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(payloads: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for payload in payloads {
            append(&mut out, |out| out.extend_from_slice(payload)).unwrap();
        }
        out
    }

    fn read(bytes: &[u8]) -> (Vec<Vec<u8>>, usize, End) {
        let mut records = Records::new(bytes);
        let payloads = records.by_ref().map(<[u8]>::to_vec).collect();
        (payloads, records.whole_bytes(), records.end().unwrap())
    }

    fn payloads() -> impl Strategy<Value = Vec<Vec<u8>>> {
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8)
    }

    /// How many of `payloads` are whole within the first `bytes` of their file.
    fn whole_within(payloads: &[Vec<u8>], bytes: usize) -> usize {
        let ends = payloads.iter().scan(0, |end, payload| {
            *end += HEAD_BYTES + payload.len();
            Some(*end)
        });
        ends.filter(|end| *end <= bytes).count()
    }

    #[test]
    fn the_documented_bytes_are_what_is_written() {
        let bytes = file(&[b"tally".to_vec()]);
        assert_eq!(bytes, [&[5, 0, 0, 0, 0xff, 0x58, 0x0a, 0x82], &b"tally"[..]].concat());
    }

    #[test]
    fn zeros_are_no_records() {
        assert_eq!(read(&[0; 64]), (Vec::new(), 0, End::Damaged));
        assert_eq!(read(&[0; 7]), (Vec::new(), 0, End::Torn));
    }

    #[test]
    fn a_payload_that_is_too_long_leaves_nothing_behind() {
        let mut out = file(&[vec![1]]);
        let before = out.clone();
        let long = append(&mut out, |out| out.resize(out.len() + PAYLOAD_BYTES + 1, 7));
        assert_eq!(long, Err(TooLong { bytes: PAYLOAD_BYTES + 1 }));
        assert_eq!(out, before);
    }

    #[test]
    fn a_length_beyond_the_limit_is_damage_however_much_follows() {
        let mut bytes = file(&[vec![1]]);
        bytes.extend_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(read(&bytes).2, End::Damaged);
    }

    proptest! {
        #[test]
        fn what_was_appended_is_read(payloads in payloads()) {
            let bytes = file(&payloads);
            prop_assert_eq!(read(&bytes), (payloads, bytes.len(), End::Whole));
        }

        #[test]
        fn of_a_torn_file_every_whole_record_is_read(
            payloads in payloads(),
            cut in any::<prop::sample::Index>(),
        ) {
            let bytes = file(&payloads);
            let cut = cut.index(bytes.len() + 1);
            let whole = whole_within(&payloads, cut);
            let (found, at, end) = read(&bytes[..cut]);
            prop_assert_eq!(&found[..], &payloads[..whole]);
            prop_assert_eq!(end, if at == cut { End::Whole } else { End::Torn });
        }

        #[test]
        fn a_changed_bit_costs_its_record_and_what_follows(
            payloads in payloads(),
            bit in any::<prop::sample::Index>(),
        ) {
            let mut bytes = file(&payloads);
            prop_assume!(!bytes.is_empty());
            let bit = bit.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let whole = whole_within(&payloads, bit / 8);
            let (found, _, end) = read(&bytes);
            prop_assert_eq!(&found[..], &payloads[..whole]);
            prop_assert_ne!(end, End::Whole);
        }

        #[test]
        fn arbitrary_bytes_are_read_to_some_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let (found, at, end) = read(&bytes);
            prop_assert!(at <= bytes.len());
            prop_assert_eq!(at, found.iter().map(|payload| HEAD_BYTES + payload.len()).sum::<usize>());
            prop_assert_eq!(end == End::Whole, at == bytes.len());
        }
    }
}

//! Groups of up to eight numbers, bit-packed at the width of the widest.
//!
//! A group is one byte, the width in bits (0 to 64), and then the numbers, each `width` bits,
//! lowest bit first, padded to a whole byte. Eight numbers of width w take 1 + w bytes.
#![expect(
    clippy::indexing_slicing,
    clippy::as_conversions,
    reason = "the innermost loops of every frame: indices follow from GROUP and widths up to 64, \
              conversions are between integers of known width"
)]

/// Numbers in a group: small enough that one large number widens few others.
pub(super) const GROUP: usize = 8;

/// Bytes of the widest group, and eight more so that whole words can be read at any place.
const PADDED: usize = GROUP * 8 + 8;

/// Appends one group of at most [`GROUP`] numbers.
pub(super) fn pack_group(numbers: &[u64], out: &mut Vec<u8>) {
    let all = numbers.iter().fold(0, |all, number| all | number);
    let width = 64 - all.leading_zeros() as usize;
    let mut packed = [0u8; PADDED];
    for (place, number) in numbers.iter().enumerate() {
        let (at, shift) = (place * width / 8, place * width % 8);
        let word = read_word(&packed, at) | number << shift;
        packed[at..at + 8].copy_from_slice(&word.to_le_bytes());
        if 64 < width + shift {
            packed[at + 8] = (number >> (64 - shift)) as u8;
        }
    }
    out.push(width as u8);
    out.extend_from_slice(&packed[..(numbers.len() * width).div_ceil(8)]);
}

/// Takes one group of `count` numbers from the front of `bytes`. `None` when there are too few
/// bytes or the width is over 64.
pub(super) fn unpack_group(bytes: &mut &[u8], count: usize) -> Option<[u64; GROUP]> {
    let (&width, rest) = bytes.split_first()?;
    let width = usize::from(width);
    if 64 < width || GROUP < count {
        return None;
    }
    let (packed, rest) = rest.split_at_checked((count * width).div_ceil(8))?;
    *bytes = rest;
    let mut padded = [0u8; PADDED];
    padded[..packed.len()].copy_from_slice(packed);
    let mut numbers = [0; GROUP];
    for (place, number) in numbers.iter_mut().enumerate().take(count) {
        *number = number_at(&padded, place * width, width);
    }
    Some(numbers)
}

/// The `place`-th number of a run of groups that holds `count` numbers.
pub(super) fn number_in_groups(mut bytes: &[u8], place: usize, count: usize) -> Option<u64> {
    let mut first = 0;
    loop {
        let (&width, rest) = bytes.split_first()?;
        let width = usize::from(width);
        let here = count.checked_sub(first)?.min(GROUP);
        let length = (here * width).div_ceil(8);
        if 64 < width || here == 0 {
            return None;
        }
        if place < first + here {
            let packed = rest.get(..length)?;
            let mut padded = [0u8; PADDED];
            padded[..length].copy_from_slice(packed);
            return Some(number_at(&padded, (place - first) * width, width));
        }
        bytes = rest.get(length..)?;
        first += here;
    }
}

fn number_at(padded: &[u8; PADDED], bit: usize, width: usize) -> u64 {
    let (at, shift) = (bit / 8, bit % 8);
    let mut number = read_word(padded, at) >> shift;
    if 64 < width + shift {
        number |= u64::from(padded[at + 8]) << (64 - shift);
    }
    if width == 64 { number } else { number & ((1 << width) - 1) }
}

fn read_word(padded: &[u8; PADDED], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&padded[at..at + 8]);
    u64::from_le_bytes(word)
}

/// A signed number with its sign in the lowest bit, so that small ones of both signs are narrow.
pub(super) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// The reverse of [`zigzag`].
pub(super) fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// Appends a number in groups of seven bits, lowest first.
pub(super) fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while 0x7f < number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes a number in groups of seven bits from the front of `bytes`.
pub(super) fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn groups_come_back(numbers in prop::collection::vec(
            (any::<u64>(), 0u32..64).prop_map(|(number, shift)| number >> shift), 1..40)
        ) {
            let mut packed = Vec::new();
            for group in numbers.chunks(GROUP) {
                pack_group(group, &mut packed);
            }
            for (place, number) in numbers.iter().enumerate() {
                prop_assert_eq!(number_in_groups(&packed, place, numbers.len()), Some(*number));
            }
            let mut rest = packed.as_slice();
            for group in numbers.chunks(GROUP) {
                let back = unpack_group(&mut rest, group.len()).unwrap();
                prop_assert_eq!(&back[..group.len()], group);
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn signs_and_varints_come_back(number in any::<i64>()) {
            prop_assert_eq!(unzigzag(zigzag(number)), number);
            let mut bytes = Vec::new();
            push_varint(zigzag(number), &mut bytes);
            prop_assert_eq!(take_varint(&mut bytes.as_slice()), Some(zigzag(number)));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>, place in 0usize..100, count in 0usize..100) {
            let _ = number_in_groups(&bytes, place, count);
            let _ = unpack_group(&mut bytes.as_slice(), count);
            let _ = take_varint(&mut bytes.as_slice());
        }
    }
}

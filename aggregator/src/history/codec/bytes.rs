//! Numbers and texts as bytes: groups of seven bits, lowest first, and checked reads.

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// They end too early.
    #[error("the bytes end within {0}")]
    Short(&'static str),
    /// A number that its field cannot have.
    #[error("{0} is out of its range")]
    Range(&'static str),
}

/// Appends a number.
#[expect(clippy::as_conversions, reason = "the low seven bits of a number are what is meant")]
pub(crate) fn push_varint(mut number: u64, out: &mut Vec<u8>) {
    while 0x7f < number {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a length.
pub(crate) fn push_length(length: usize, out: &mut Vec<u8>) {
    push_varint(u64::try_from(length).unwrap_or(u64::MAX), out);
}

/// Appends a signed number: those near zero are short.
pub(crate) fn push_signed(number: i64, out: &mut Vec<u8>) {
    push_varint(zigzag(number), out);
}

/// Appends a text with its length.
pub(crate) fn push_text(text: &str, out: &mut Vec<u8>) {
    push_length(text.len(), out);
    out.extend_from_slice(text.as_bytes());
}

/// A signed number with its sign in the lowest bit.
pub(crate) fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

/// The reverse of [`zigzag`].
pub(crate) fn unzigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Takes a number from the front.
pub(crate) fn take_varint(bytes: &mut &[u8], what: &'static str) -> Result<u64, Malformed> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(bytes, what)?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Ok(number);
        }
    }
    Err(Malformed::Range(what))
}

/// Takes a signed number from the front.
pub(crate) fn take_signed(bytes: &mut &[u8], what: &'static str) -> Result<i64, Malformed> {
    take_varint(bytes, what).map(unzigzag)
}

/// Takes a number of at most `most` from the front.
pub(crate) fn take_at_most(
    bytes: &mut &[u8],
    most: usize,
    what: &'static str,
) -> Result<usize, Malformed> {
    let number = usize::try_from(take_varint(bytes, what)?).ok();
    number.filter(|number| *number <= most).ok_or(Malformed::Range(what))
}

/// Takes one byte from the front.
pub(crate) fn take_byte(bytes: &mut &[u8], what: &'static str) -> Result<u8, Malformed> {
    let (&byte, rest) = bytes.split_first().ok_or(Malformed::Short(what))?;
    *bytes = rest;
    Ok(byte)
}

/// Takes so many bytes from the front.
pub(crate) fn take_slice<'a>(
    bytes: &mut &'a [u8],
    length: usize,
    what: &'static str,
) -> Result<&'a [u8], Malformed> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(Malformed::Short(what))?;
    *bytes = rest;
    Ok(taken)
}

/// Takes a text with its length, of at most `most` bytes.
pub(crate) fn take_text<'a>(
    bytes: &mut &'a [u8],
    most: usize,
    what: &'static str,
) -> Result<&'a str, Malformed> {
    let length = take_at_most(bytes, most, what)?;
    std::str::from_utf8(take_slice(bytes, length, what)?).map_err(|_| Malformed::Range(what))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_and_texts_come_back(number: u64, signed: i64, text: String) {
            let mut bytes = Vec::new();
            push_varint(number, &mut bytes);
            push_signed(signed, &mut bytes);
            push_text(&text, &mut bytes);
            let mut rest = bytes.as_slice();
            prop_assert_eq!(take_varint(&mut rest, "number"), Ok(number));
            prop_assert_eq!(take_signed(&mut rest, "signed"), Ok(signed));
            prop_assert_eq!(take_text(&mut rest, 1 << 20, "text"), Ok(text.as_str()));
            prop_assert!(rest.is_empty());
        }
    }

    #[test]
    fn what_is_too_short_or_too_large_says_its_name() {
        assert_eq!(take_varint(&mut &[0x80][..], "width"), Err(Malformed::Short("width")));
        assert_eq!(take_varint(&mut &[0xff; 11][..], "width"), Err(Malformed::Range("width")));
        assert_eq!(take_at_most(&mut &[9][..], 8, "rows"), Err(Malformed::Range("rows")));
        assert_eq!(take_text(&mut &[1, 0xff][..], 8, "name"), Err(Malformed::Range("name")));
    }
}

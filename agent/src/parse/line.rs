//! Lines, words and numbers: what all kernel files are made of.

/// A line that is not in the form the kernel documents. It does not carry the line itself: parsers
/// run every tick and must not allocate, and whoever reports it has the file at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line_no} is not in the documented form")]
pub struct BadLine {
    /// Counted from 1.
    pub line_no: usize,
}

/// The lines of a file, numbered from 1, without empty ones.
pub fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    (1..).zip(text.split(|byte| *byte == b'\n')).filter(|(_, line)| !line.is_empty())
}

/// The words of a line: what stands between spaces and tabs.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty())
}

/// A decimal number and nothing else; `None` also when it has over 64 bits.
pub fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        if 9 < digit {
            return None;
        }
        number.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A line of a key, a space and a number.
pub fn key_and_number(line: &[u8]) -> Option<(&[u8], u64)> {
    let space = line.iter().position(|byte| *byte == b' ')?;
    let (key, rest) = line.split_at(space);
    Some((key, decimal(rest.get(1..)?)?))
}

/// Calls `take` with the key and number of every line.
pub fn each_key(text: &[u8], mut take: impl FnMut(&[u8], u64)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        let (key, number) = key_and_number(line).ok_or(BadLine { line_no })?;
        take(key, number);
    }
    Ok(())
}

/// The text without blanks and line ends around it.
pub fn trimmed(text: &[u8]) -> &[u8] {
    text.trim_ascii()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_only_and_fits_64_bits() {
        for (text, expected) in [
            ("0", Some(0)),
            ("18446744073709551615", Some(u64::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-1", None),
            ("1 ", None),
            ("1e3", None),
        ] {
            assert_eq!(decimal(text.as_bytes()), expected, "input: {text:?}");
        }
    }

    #[test]
    fn a_line_without_a_number_is_named() {
        let mut keys = 0;
        assert_eq!(each_key(b"a 1\n\nb x\n", |_, _| keys += 1), Err(BadLine { line_no: 3 }));
        assert_eq!(keys, 1);
    }
}

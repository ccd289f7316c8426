//! Percent-decoding, strict: an escape that is none makes the whole text invalid, as in Go.

/// Decodes `%XX`; `None` when an escape is malformed. What is not UTF-8 becomes U+FFFD, so that it
/// is still there and is the name of nothing.
pub(crate) fn decode(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'%' {
            decoded.push(hex(bytes.next()?)? << 4 | hex(bytes.next()?)?);
        } else {
            decoded.push(byte);
        }
    }
    Some(
        String::from_utf8(decoded)
            .unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()),
    )
}

fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, decoded: Option<&str>) {
        assert_eq!(decode(text).as_deref(), decoded, "input: {text:?}");
    }

    #[test]
    fn escapes_are_decoded_once() {
        check("%6Bubelet", Some("kubelet"));
        check("%252F", Some("%2F"));
        check("a+b", Some("a+b"));
        check("", Some(""));
    }

    #[test]
    fn a_bad_escape_spoils_the_text() {
        check("%zz", None);
        check("%2", None);
        check("%", None);
        check("%+1", None);
    }

    #[test]
    fn what_is_not_utf8_is_the_name_of_nothing() {
        check("a%ffb", Some("a\u{fffd}b"));
    }
}

//! Ids of pods and containers. Nearly all are hexadecimal digits, and there are as many of them as
//! there are pods and containers, so they are kept as the bytes that the digits stand for.

use std::fmt;

use arcstr::ArcStr;

use super::{BadName, checked};
use crate::limits::NAME_BYTES;

/// What tells two pods of one name apart. Usually a UUID; of a pod that no API server made, the
/// MD5 digest of its file.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(Uid);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Uid {
    Uuid([u8; 16]),
    Digest([u8; 16]),
    Text(ArcStr),
}

/// A runtime's id of a container, mostly 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(Id);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Id {
    /// Apart, as an id within would make everything that has one half as large again.
    Digest(Box<[u8; 32]>),
    Text(ArcStr),
}

/// Where a UUID has its dashes.
const DASHES: [usize; 4] = [8, 13, 18, 23];

impl PodUid {
    /// Checks the text: not empty, not too long, no control characters.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if let Some(bytes) = digits(text.bytes()) {
            return Ok(Self(Uid::Digest(bytes)));
        }
        let is_uuid =
            text.len() == 36 && DASHES.iter().all(|at| text.as_bytes().get(*at) == Some(&b'-'));
        match digits(text.bytes().filter(|byte| *byte != b'-')).filter(|_| is_uuid) {
            Some(bytes) => Ok(Self(Uid::Uuid(bytes))),
            None => checked(text, NAME_BYTES).map(|text| Self(Uid::Text(text))),
        }
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Uid::Text(text) => out.write_str(text),
            Uid::Digest(bytes) => write_digits(bytes, out),
            Uid::Uuid(bytes) => {
                let (first, rest) = bytes.split_at(4);
                write_digits(first, out)?;
                let (middle, last) = rest.split_at(6);
                for part in middle.chunks(2).chain([last]) {
                    out.write_str("-")?;
                    write_digits(part, out)?;
                }
                Ok(())
            }
        }
    }
}

impl ContainerId {
    /// Checks the text: not empty, not too long, no control characters.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        match digits(text.bytes()) {
            Some(bytes) => Ok(Self(Id::Digest(Box::new(bytes)))),
            None => checked(text, NAME_BYTES).map(|text| Self(Id::Text(text))),
        }
    }

    /// As [`parse`](Self::parse), but the empty text is an absent id.
    pub fn parse_optional(text: &str) -> Result<Option<Self>, BadName> {
        if text.is_empty() { Ok(None) } else { Self::parse(text).map(Some) }
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Id::Text(text) => out.write_str(text),
            Id::Digest(bytes) => write_digits(&**bytes, out),
        }
    }
}

impl fmt::Debug for PodUid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "PodUid({self})")
    }
}

impl fmt::Debug for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "ContainerId({self})")
    }
}

/// The bytes that exactly twice as many small hexadecimal digits stand for.
fn digits<const BYTES: usize>(mut text: impl Iterator<Item = u8>) -> Option<[u8; BYTES]> {
    let mut digit = || match text.next()? {
        byte @ b'0'..=b'9' => Some(byte - b'0'),
        byte @ b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; BYTES];
    for byte in &mut bytes {
        *byte = digit()? << 4 | digit()?;
    }
    text.next().is_none().then_some(bytes)
}

fn write_digits(bytes: &[u8], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(out, "{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str) {
        assert_eq!(PodUid::parse(text).unwrap().to_string(), text);
        assert_eq!(ContainerId::parse(text).unwrap().to_string(), text);
        assert_eq!(PodUid::parse(text), PodUid::parse(text));
        assert_ne!(PodUid::parse(text), PodUid::parse(&format!("{text}0")));
    }

    #[test]
    fn every_id_is_shown_as_it_was_read() {
        check("6f1c2a90-77de-4c1b-9d4e-0123456789ab");
        check("6F1C2A90-77de-4c1b-9d4e-0123456789ab");
        check("6f1c2a9077de-4c1b-9d4e-0123456789ab-");
        check("6f1c2a9077de4c1b9d4e0123456789ab");
        check("pod-uid-1");
        check(&"0123456789abcdef".repeat(4));
        check(&"0123456789abcdeg".repeat(4));
        check("a");
        check("-");
    }

    #[test]
    fn digits_with_dashes_and_without_are_two_ids() {
        assert_ne!(
            PodUid::parse("6f1c2a90-77de-4c1b-9d4e-0123456789ab"),
            PodUid::parse("6f1c2a9077de4c1b9d4e0123456789ab")
        );
    }

    #[test]
    fn an_id_is_neither_empty_nor_long_nor_dirty() {
        assert_eq!(PodUid::parse(""), Err(BadName::Empty));
        assert_eq!(ContainerId::parse_optional(""), Ok(None));
        assert!(ContainerId::parse(&"x".repeat(254)).is_err());
        assert_eq!(PodUid::parse("a\nb"), Err(BadName::Control));
    }
}

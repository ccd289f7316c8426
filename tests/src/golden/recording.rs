//! One recorded request and answer.

use std::{collections::BTreeMap, fs, io, path::Path};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Deserialize;

/// A request, the answer to it, and when.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    /// Group and name.
    pub name: String,
    /// When it was asked.
    pub recorded_at: Timestamp,
    /// The newest batch then; `None` before the first.
    pub newest_batch: Option<Timestamp>,
    /// What was asked.
    pub request: Request,
    /// What was answered.
    pub response: Response,
}

/// A recorded request.
#[derive(Clone, Debug, Deserialize)]
pub struct Request {
    /// GET and so on.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Beyond those that every client sends.
    pub headers: BTreeMap<String, String>,
}

/// A recorded answer.
#[derive(Clone, Debug, Deserialize)]
pub struct Response {
    /// Its code.
    pub status: u16,
    headers: Vec<(String, String)>,
    body: Option<String>,
    body_base64: Option<String>,
}

impl Response {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value)
    }

    /// The body, decompressed.
    pub fn body(&self) -> io::Result<Vec<u8>> {
        match (&self.body, &self.body_base64) {
            (Some(text), _) => Ok(text.clone().into_bytes()),
            (None, Some(coded)) => {
                let bytes = base64(coded).ok_or(io::ErrorKind::InvalidData)?;
                super::http::decompressed(self.header("content-encoding"), bytes)
            }
            (None, None) => Ok(Vec::new()),
        }
    }
}

/// All cases of one group, by name.
pub fn group(folder: &Path) -> anyhow::Result<Vec<Case>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let case = || serde_json::from_str(&fs::read_to_string(&path)?).map_err(anyhow::Error::new);
        cases.push(case().with_context(|| path.display().to_string())?);
    }
    cases.sort_by(|one: &Case, other: &Case| one.name.cmp(&other.name));
    Ok(cases)
}

/// Standard base64; `None` when it is not.
fn base64(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut bytes) = (0_u32, 0, Vec::new());
    for digit in text.trim_end_matches('=').bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if 8 <= count {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_any_length_is_read() {
        assert_eq!(base64("Zm9v"), Some(b"foo".to_vec()));
        assert_eq!(base64("Zm8="), Some(b"fo".to_vec()));
        assert_eq!(base64("Zg=="), Some(b"f".to_vec()));
        assert_eq!(base64("-"), None);
    }
}

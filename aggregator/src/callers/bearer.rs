//! The token of an `Authorization` header.

use std::fmt;

use ring::digest::{SHA256, digest};

/// Bytes of a token. Those of service accounts have about a thousand, of identity providers some
/// thousands.
const TOKEN_BYTES: usize = 32 << 10;

/// A token as it was sent. It is never printed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Token(String);

/// What stands for a token where it need not be known.
pub type TokenHash = [u8; 32];

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// Nothing about tokens.
    None,
    /// A token.
    Token(Token),
    /// A token that is longer than any.
    TooLong,
}

impl Bearer {
    /// Of the value of a header.
    pub fn of(header: Option<&str>) -> Self {
        let mut parts = header.unwrap_or_default().trim().splitn(3, ' ');
        let scheme = parts.next().unwrap_or_default();
        match parts.next() {
            Some(token) if scheme.eq_ignore_ascii_case("bearer") && !token.is_empty() => {
                if token.len() <= TOKEN_BYTES {
                    Self::Token(Token(token.to_owned()))
                } else {
                    Self::TooLong
                }
            }
            _ => Self::None,
        }
    }
}

impl Token {
    /// One that is known from elsewhere.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// What is sent to whom it is asked of, and to nobody else.
    pub fn secret(&self) -> &str {
        &self.0
    }

    /// SHA-256: nobody finds another token with the same.
    pub fn hash(&self) -> TokenHash {
        let mut hash = [0; 32];
        for (to, from) in hash.iter_mut().zip(digest(&SHA256, self.0.as_bytes()).as_ref()) {
            *to = *from;
        }
        hash
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, expected: Option<&str>) {
        let expected = expected.map_or(Bearer::None, |token| Bearer::Token(Token::new(token)));
        assert_eq!(Bearer::of(Some(header)), expected, "{header:?}");
    }

    #[test]
    fn a_token_follows_its_scheme() {
        check("Bearer abc", Some("abc"));
        check("  bearer abc  ", Some("abc"));
        check("BEARER abc and more", Some("abc"));
        check("Basic abc", None);
        check("Bearer", None);
        check("Bearer  abc", None);
        check("", None);
        assert_eq!(Bearer::of(None), Bearer::None);
    }

    #[test]
    fn what_is_longer_than_any_token_is_refused() {
        let long = |bytes| Bearer::of(Some(&format!("Bearer {}", "a".repeat(bytes))));
        assert!(matches!(long(TOKEN_BYTES), Bearer::Token(_)));
        assert_eq!(long(TOKEN_BYTES + 1), Bearer::TooLong);
    }

    #[test]
    fn a_token_is_never_printed_and_its_hash_is_its_own() {
        let token = Token::new("secret");
        assert_eq!(format!("{token:?}"), "Token(…)");
        assert_ne!(token.hash(), Token::new("other").hash());
        assert_eq!(token.hash()[..4], [0x2b, 0xb8, 0x0d, 0x53]);
    }
}

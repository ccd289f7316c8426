//! A file of tokens, as Kubernetes' API server takes it: `token,user,uid,"group,group"`, one a line.

use std::collections::HashMap;

use super::{
    User,
    bearer::{Token, TokenHash},
};

/// Lines of a file.
const LINES: usize = 10_000;

/// Users by the hash of their token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tokens(HashMap<TokenHash, User>);

/// A line that names no user. It is not told, because a token is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTokens {
    /// Too little or too much.
    #[error("line {line} is not token,user,uid or token,user,uid,\"group,group\"")]
    Fields {
        /// Counted from 1.
        line: usize,
    },
    /// A quote that does not end, or that others follow.
    #[error("line {line} has a quote in the wrong place")]
    Quote {
        /// Counted from 1.
        line: usize,
    },
    /// Two users with one token.
    #[error("line {line} has a token of an earlier line")]
    Twice {
        /// Counted from 1.
        line: usize,
    },
    /// Very many.
    #[error("there are more than {LINES} lines")]
    TooMany,
}

impl Tokens {
    /// Reads a whole file. Empty lines and lines after a `#` are nothing.
    pub fn parse(text: &str) -> Result<Self, BadTokens> {
        let mut tokens = HashMap::new();
        for (line, content) in (1..).zip(text.lines()) {
            if LINES < line {
                return Err(BadTokens::TooMany);
            }
            if content.trim().is_empty() || content.starts_with('#') {
                continue;
            }
            let fields = fields(content).ok_or(BadTokens::Quote { line })?;
            let fields: Vec<&str> = fields.iter().map(|field| field.trim()).collect();
            let (token, name, uid, groups) = match *fields.as_slice() {
                [token, name, uid] => (token, name, uid, ""),
                [token, name, uid, groups] => (token, name, uid, groups),
                _ => return Err(BadTokens::Fields { line }),
            };
            if token.is_empty() || name.is_empty() {
                return Err(BadTokens::Fields { line });
            }
            let groups = groups.split(',').map(str::trim).filter(|group| !group.is_empty());
            let user = User {
                name: name.to_owned(),
                uid: uid.to_owned(),
                groups: groups.map(str::to_owned).collect(),
                ..User::default()
            };
            if tokens.insert(Token::new(token).hash(), user).is_some() {
                return Err(BadTokens::Twice { line });
            }
        }
        Ok(Self(tokens))
    }

    /// Whose it is. Hashes are compared, so how long it takes tells nothing of other tokens.
    pub fn user(&self, token: &Token) -> Option<&User> {
        self.0.get(&token.hash())
    }
}

/// The fields of a line; `None` where a quote is wrong.
fn fields(line: &str) -> Option<Vec<String>> {
    let (mut fields, mut rest) = (Vec::new(), line);
    loop {
        let field;
        if let Some(quoted) = rest.trim_start().strip_prefix('"') {
            let end = quoted.find('"')?;
            (field, rest) = quoted.split_at(end);
            rest = rest.strip_prefix('"')?.trim_start();
            if !rest.is_empty() && !rest.starts_with(',') {
                return None;
            }
        } else {
            (field, rest) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if field.contains('"') {
                return None;
            }
        }
        fields.push(field.to_owned());
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => return Some(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(text: &str, token: &str, expected: Option<(&str, &[&str])>) {
        let tokens = Tokens::parse(text).unwrap();
        let user = tokens.user(&Token::new(token));
        let found =
            user.map(|user| (&*user.name, user.groups.iter().map(String::as_str).collect()));
        assert_eq!(found, expected.map(|(name, groups)| (name, groups.to_vec())), "{text:?}");
    }

    #[test]
    fn a_line_gives_a_token_its_user() {
        check("t,ada,1\n", "t", Some(("ada", &[])));
        check("t,ada,1,dev\n", "t", Some(("ada", &["dev"])));
        check("t,ada,1,\"dev,ops\"\n", "t", Some(("ada", &["dev", "ops"])));
        check("# tokens\n\n t , ada , 1 , \"dev , ops\" \n", "t", Some(("ada", &["dev", "ops"])));
        check("\"t,1\",ada,1", "t,1", Some(("ada", &[])));
        check("t,ada,1\nu,bob,2", "u", Some(("bob", &[])));
        check("t,ada,1", "u", None);
        check("", "", None);
    }

    #[test]
    fn a_line_that_names_no_user_is_told_by_its_number() {
        let bad = |text: &str| Tokens::parse(text).expect_err("bad");
        assert_eq!(bad("t,ada"), BadTokens::Fields { line: 1 });
        assert_eq!(bad("t,ada,1\nu,bob,2,dev,ops"), BadTokens::Fields { line: 2 });
        assert_eq!(bad(",ada,1"), BadTokens::Fields { line: 1 });
        assert_eq!(bad("t,,1"), BadTokens::Fields { line: 1 });
        assert_eq!(bad("t,ada,1,\"dev"), BadTokens::Quote { line: 1 });
        assert_eq!(bad("t,ada,1,\"dev\"x"), BadTokens::Quote { line: 1 });
        assert_eq!(bad("t,ada,1\nt,bob,2"), BadTokens::Twice { line: 2 });
        assert_eq!(bad(&"\n".repeat(LINES + 1)), BadTokens::TooMany);
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z,\" \n#]{0,60}|.{0,60}") {
            drop(Tokens::parse(&text));
        }
    }
}

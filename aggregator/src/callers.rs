//! Who asks, and may they: what an aggregated API server finds out about every request.
//!
//! ```text
//! attributes    a path and a method -> what is asked for
//! certificate   a client's certificate -> user and groups, where an authority vouches for it
//! front_proxy   headers of an API server that asks for somebody -> that user
//! bearer        a header -> the token in it
//! token_file    a file of tokens -> their users
//! trust         what the API server has published of authorities and headers
//! cache         what was answered a moment ago
//! decision      all of the above -> who it is, and whether more must be asked
//! status        a refusal, as an API server words it
//! ```
//! All of it is pure. Who a token belongs to and what a user may, only an API server knows: it is
//! asked by [`crate::kubernetes`].

pub mod attributes;
pub mod bearer;
pub mod cache;
pub mod certificate;
pub mod decision;
pub mod front_proxy;
pub mod status;
pub mod token_file;
pub mod trust;

use std::collections::BTreeMap;

/// The user of a request that says nothing of itself.
pub const ANONYMOUS: &str = "system:anonymous";
/// The group of that user alone.
const UNAUTHENTICATED: &str = "system:unauthenticated";
/// The group of all other users.
const AUTHENTICATED: &str = "system:authenticated";
/// The group whose users may do everything: the API server would never say no.
const MASTERS: &str = "system:masters";

/// Who asks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct User {
    /// What it is called.
    pub name: String,
    /// What it is called forever, where that is known.
    pub uid: String,
    /// What it belongs to.
    pub groups: Vec<String>,
    /// What else its authenticator knows.
    pub extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The one of whom nothing is known.
    pub fn anonymous() -> Self {
        Self {
            name: ANONYMOUS.to_owned(),
            groups: vec![UNAUTHENTICATED.to_owned()],
            ..Self::default()
        }
    }

    /// One of whom something is known belongs to all of those.
    #[must_use]
    pub fn authenticated(mut self) -> Self {
        let has = |group: &str| self.groups.iter().any(|other| other == group);
        if self.name != ANONYMOUS && !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
            self.groups.push(AUTHENTICATED.to_owned());
        }
        self
    }

    /// Whether it may do everything.
    pub fn is_master(&self) -> bool {
        self.groups.iter().any(|group| group == MASTERS)
    }

    /// About how many bytes it takes.
    pub fn bytes(&self) -> usize {
        let extra = self.extra.iter().map(|(key, values)| key.len() + lengths(values));
        self.name.len() + self.uid.len() + lengths(&self.groups) + extra.sum::<usize>()
    }
}

fn lengths(texts: &[String]) -> usize {
    texts.iter().map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_but_the_anonymous_is_authenticated() {
        let user = |name: &str, groups: &[&str]| User {
            name: name.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            ..User::default()
        };
        let groups = |user: User| user.authenticated().groups;
        assert_eq!(groups(user("a", &["b"])), ["b", AUTHENTICATED]);
        assert_eq!(groups(user("a", &[AUTHENTICATED])), [AUTHENTICATED]);
        assert_eq!(groups(User::anonymous()), [UNAUTHENTICATED]);
        assert!(user("a", &["b", MASTERS]).is_master());
        assert!(!user(MASTERS, &["b"]).is_master());
    }
}

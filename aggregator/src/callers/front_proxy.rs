//! Users that an API server asks for.
//!
//! Its aggregator finds out who asks, and says so in headers of the request that it passes on. They
//! count from a client whose certificate its authority vouches for, and from nobody else.

use std::collections::BTreeMap;

use http::{HeaderMap, HeaderValue};

use super::User;
use crate::percent;

/// Which headers say what, in the order in which they are looked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// The user's name.
    pub user: Vec<String>,
    /// Its uid.
    pub uid: Vec<String>,
    /// One group each.
    pub group: Vec<String>,
    /// Beginnings of names whose rest says what the value is.
    pub extra_prefix: Vec<String>,
}

impl Headers {
    /// The user of these headers, if they name one.
    pub fn user(&self, headers: &HeaderMap) -> Option<User> {
        let first = |names: &[String]| {
            let values = names.iter().filter_map(|name| text(headers.get(name)?));
            values.map(str::to_owned).find(|value| !value.is_empty())
        };
        let groups = self.group.iter().flat_map(|name| headers.get_all(name));
        let groups = groups.filter_map(text);
        Some(User {
            name: first(&self.user)?,
            uid: first(&self.uid).unwrap_or_default(),
            groups: groups.map(str::to_owned).collect(),
            extra: self.extra(headers),
        })
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut extra = BTreeMap::<_, Vec<String>>::new();
        for (name, value) in headers {
            let keys = self.extra_prefix.iter().filter_map(|prefix| after(name.as_str(), prefix));
            let (Some(key), Some(value)) = (keys.into_iter().next(), text(value)) else { continue };
            let key = percent::decode(key).unwrap_or_else(|| key.to_owned());
            extra.entry(key.to_lowercase()).or_default().push(value.to_owned());
        }
        extra
    }

    /// Takes them away, so that nobody after this takes them for true.
    pub fn strip(&self, headers: &mut HeaderMap) {
        let is_extra =
            |name: &str| self.extra_prefix.iter().any(|prefix| after(name, prefix).is_some());
        let extra = headers.keys().filter(|name| is_extra(name.as_str())).cloned();
        for name in extra.collect::<Vec<_>>() {
            headers.remove(name);
        }
        for name in self.user.iter().chain(&self.uid).chain(&self.group) {
            headers.remove(name);
        }
    }
}

/// Names need not be ASCII.
fn text(value: &HeaderValue) -> Option<&str> {
    str::from_utf8(value.as_bytes()).ok()
}

/// What follows a beginning, whose letters may be small or not.
fn after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    let (begin, rest) = name.split_at_checked(prefix.len())?;
    (begin.eq_ignore_ascii_case(prefix) && !rest.is_empty() && !prefix.is_empty()).then_some(rest)
}

#[cfg(test)]
pub(crate) mod tests {
    use http::HeaderName;

    use super::*;

    pub(crate) fn usual() -> Headers {
        let one = |name: &str| vec![name.to_owned()];
        Headers {
            user: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            group: one("X-Remote-Group"),
            extra_prefix: one("X-Remote-Extra-"),
        }
    }

    pub(crate) fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let line = |(name, value): &(&str, &str)| {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        };
        lines.iter().map(line).collect()
    }

    #[test]
    fn headers_name_a_user_its_groups_and_more() {
        let user = usual().user(&headers(&[
            ("x-remote-user", "adè"),
            ("x-remote-uid", "u-1"),
            ("x-remote-group", "dev"),
            ("x-remote-group", "ops"),
            ("x-remote-extra-scopes", "a"),
            ("x-remote-extra-scopes", "b"),
            ("x-remote-extra-example.com%2fId", "c"),
            ("x-remote-extra-", "nothing"),
        ]));
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let extra = [("scopes", texts(&["a", "b"])), ("example.com/id", texts(&["c"]))];
        let expected = User {
            name: "adè".to_owned(),
            uid: "u-1".to_owned(),
            groups: texts(&["dev", "ops"]),
            extra: extra.map(|(key, values)| (key.to_owned(), values)).into(),
        };
        assert_eq!(user, Some(expected));
    }

    #[test]
    fn without_a_name_there_is_no_user() {
        assert_eq!(usual().user(&headers(&[("x-remote-group", "system:masters")])), None);
        assert_eq!(usual().user(&headers(&[("x-remote-user", "")])), None);
        let mut odd = headers(&[]);
        odd.insert("x-remote-user", HeaderValue::from_bytes(&[0xe9]).unwrap());
        assert_eq!(usual().user(&odd), None);
    }

    #[test]
    fn the_first_header_that_says_something_counts() {
        let mut names = usual();
        names.user = vec!["x-first".to_owned(), "x-second".to_owned()];
        let name = |lines: &[(&str, &str)]| names.user(&headers(lines)).map(|user| user.name);
        assert_eq!(name(&[("x-second", "b"), ("x-first", "a")]).as_deref(), Some("a"));
        assert_eq!(name(&[("x-second", "b"), ("x-first", "")]).as_deref(), Some("b"));
    }

    #[test]
    fn what_was_said_is_taken_away() {
        let mut sent = headers(&[
            ("X-Remote-User", "a"),
            ("X-Remote-Group", "b"),
            ("X-Remote-Group", "c"),
            ("X-Remote-Uid", "d"),
            ("x-remote-extra-scopes", "e"),
            ("accept", "f"),
        ]);
        usual().strip(&mut sent);
        assert_eq!(sent.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["accept"]);
    }
}

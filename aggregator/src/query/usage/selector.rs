//! Label selectors as Kubernetes has them: `app=web,tier in (a, b),!canary`.
//!
//! Texts come from strangers, so what one may ask for is limited.

mod lexer;

use self::lexer::{Lexer, Token};

/// Requirements in one selector. A workload's own has a handful.
const REQUIREMENTS: usize = 64;

/// Values in one selector, all of its requirements together: a list of 150,000 pods looks each up
/// in these.
const VALUES: usize = 1_000;

/// Bytes of a key's name, and of a value.
const NAME_BYTES: usize = 63;

/// Bytes of a key's prefix.
const PREFIX_BYTES: usize = 253;

/// Which objects, by their labels. The empty one matches all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LabelSelector(Vec<Requirement>);

/// What one label must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    must: Must,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Must {
    Exist,
    NotExist,
    /// Be one of these, which are sorted.
    In(Vec<String>),
    /// Be none of these, which are sorted, or not exist.
    NotIn(Vec<String>),
    /// Be a greater number.
    Above(i64),
    /// Be a smaller number.
    Below(i64),
}

/// A text that is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSelector {
    /// Something else was expected.
    #[error("found {found:?} where {expected} was expected")]
    Unexpected {
        /// What stands there; empty at the end.
        found: String,
        /// What may stand there.
        expected: &'static str,
    },
    /// No label has such a key.
    #[error("{0:?} is no key of a label")]
    Key(String),
    /// No label has such a value.
    #[error("{0:?} is no value of a label")]
    Value(String),
    /// A comparison with what is no whole number.
    #[error("{0:?} is no whole number")]
    Number(String),
    /// `in ()`.
    #[error("there is no value between the parentheses")]
    NoValues,
    /// Too many requirements.
    #[error("there are more than {REQUIREMENTS} requirements")]
    Requirements,
    /// Too many values.
    #[error("there are more than {VALUES} values")]
    Values,
}

impl LabelSelector {
    /// Takes a selector's text apart.
    pub fn parse(text: &str) -> Result<Self, BadSelector> {
        let mut lexer = Lexer::new(text);
        let mut requirements = Vec::new();
        if lexer.peek() == Token::End {
            return Ok(Self(requirements));
        }
        let mut values = VALUES;
        loop {
            requirements.push(requirement(&mut lexer, &mut values)?);
            match lexer.next() {
                Token::End => return Ok(Self(requirements)),
                Token::Comma if requirements.len() < REQUIREMENTS => (),
                Token::Comma => return Err(BadSelector::Requirements),
                other => return Err(unexpected(&other, "',' or the end")),
            }
        }
    }

    /// Whether it matches labels that are `key:value` with commas between.
    pub fn matches(&self, labels: &str) -> bool {
        self.0.iter().all(|requirement| {
            let own = pairs(labels).find(|(key, _)| *key == requirement.key);
            requirement.must.holds(own.map(|(_, value)| value))
        })
    }
}

/// The pairs of labels that are `key:value` with commas between.
pub fn pairs(labels: &str) -> impl Iterator<Item = (&str, &str)> {
    labels.split(',').filter_map(|pair| pair.split_once(':'))
}

impl Must {
    fn holds(&self, value: Option<&str>) -> bool {
        let among = |values: &[String]| {
            value.is_some_and(|value| values.binary_search_by(|one| (**one).cmp(value)).is_ok())
        };
        let number = || value.and_then(|value| value.parse::<i64>().ok());
        match self {
            Self::Exist => value.is_some(),
            Self::NotExist => value.is_none(),
            Self::In(values) => among(values),
            Self::NotIn(values) => !among(values),
            Self::Above(limit) => number().is_some_and(|number| *limit < number),
            Self::Below(limit) => number().is_some_and(|number| number < *limit),
        }
    }
}

fn requirement(lexer: &mut Lexer<'_>, left: &mut usize) -> Result<Requirement, BadSelector> {
    let not = lexer.peek() == Token::Not;
    if not {
        lexer.next();
    }
    let key = match lexer.next() {
        // Where a key stands, `in` is one.
        Token::Word(key) if is_key(key) => key.to_owned(),
        Token::Word(key) => return Err(BadSelector::Key(key.to_owned())),
        other => return Err(unexpected(&other, "a key")),
    };
    if not {
        return Ok(Requirement { key, must: Must::NotExist });
    }
    let one = |lexer: &mut Lexer<'_>, left: &mut usize| Ok(vec![value(lexer, left)?]);
    let must = match lexer.peek() {
        Token::End | Token::Comma => return Ok(Requirement { key, must: Must::Exist }),
        _ => match lexer.next() {
            Token::Equals => Must::In(one(lexer, left)?),
            Token::NotEquals => Must::NotIn(one(lexer, left)?),
            Token::Above => Must::Above(number(lexer)?),
            Token::Below => Must::Below(number(lexer)?),
            Token::Word("in") => Must::In(values(lexer, left)?),
            Token::Word("notin") => Must::NotIn(values(lexer, left)?),
            other => return Err(unexpected(&other, "'=', '!=', 'in', 'notin', '<', '>' or ','")),
        },
    };
    Ok(Requirement { key, must })
}

/// One value; the empty one where none stands.
fn value(lexer: &mut Lexer<'_>, left: &mut usize) -> Result<String, BadSelector> {
    *left = left.checked_sub(1).ok_or(BadSelector::Values)?;
    match lexer.peek() {
        Token::Word(value) if is_value(value) => {
            lexer.next();
            Ok(value.to_owned())
        }
        Token::Word(value) => Err(BadSelector::Value(value.to_owned())),
        Token::End | Token::Comma | Token::Close => Ok(String::new()),
        other => Err(unexpected(&other, "a value")),
    }
}

/// `(a, b)`, sorted.
fn values(lexer: &mut Lexer<'_>, left: &mut usize) -> Result<Vec<String>, BadSelector> {
    match lexer.next() {
        Token::Open if lexer.peek() == Token::Close => return Err(BadSelector::NoValues),
        Token::Open => (),
        other => return Err(unexpected(&other, "'('")),
    }
    let mut found = Vec::new();
    loop {
        found.push(value(lexer, left)?);
        match lexer.next() {
            Token::Comma => (),
            Token::Close => break,
            other => return Err(unexpected(&other, "',' or ')'")),
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

fn number(lexer: &mut Lexer<'_>) -> Result<i64, BadSelector> {
    match lexer.next() {
        Token::Word(number) => number.parse().map_err(|_| BadSelector::Number(number.to_owned())),
        other => Err(unexpected(&other, "a number")),
    }
}

fn unexpected(found: &Token<'_>, expected: &'static str) -> BadSelector {
    BadSelector::Unexpected { found: found.text().to_owned(), expected }
}

/// `name` or `prefix/name`, the prefix a name of DNS.
fn is_key(text: &str) -> bool {
    let (prefix, name) = match text.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, text),
    };
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let is_part = |part: &str| {
        let ends =
            part.bytes().next().is_some_and(letter) && part.bytes().last().is_some_and(letter);
        ends && part.bytes().all(|byte| letter(byte) || byte == b'-')
    };
    let is_prefix = |prefix: &str| prefix.len() <= PREFIX_BYTES && prefix.split('.').all(is_part);
    prefix.is_none_or(is_prefix) && !name.is_empty() && is_value(name)
}

/// Letters and digits, between them also `-`, `_` and `.`; or nothing.
fn is_value(text: &str) -> bool {
    let inside = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    let mut ends = text.bytes().next().into_iter().chain(text.bytes().last());
    text.len() <= NAME_BYTES
        && text.bytes().all(inside)
        && ends.all(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: &str = "app:web,empty:,example.com/tier:front,weight:12";

    #[track_caller]
    fn check(text: &str, matches: bool) {
        assert_eq!(LabelSelector::parse(text).unwrap().matches(LABELS), matches, "{text}");
    }

    #[track_caller]
    fn check_bad(text: &str, expected: &str) {
        assert_eq!(LabelSelector::parse(text).expect_err(text).to_string(), expected);
    }

    #[test]
    fn equality() {
        check("", true);
        check(" ", true);
        check("app=web", true);
        check("app==web", true);
        check(" app = web ", true);
        check("app=other", false);
        check("other=web", false);
        check("app=web,example.com/tier=front", true);
        check("app=web,example.com/tier=back", false);
        check("app!=web", false);
        check("app!=other", true);
        check("other!=web", true);
    }

    #[test]
    fn an_empty_value_is_a_value() {
        check("empty=", true);
        check("empty=,app=web", true);
        check("app=", false);
        check("empty in (,x)", true);
        check("app!=", true);
    }

    #[test]
    fn existence() {
        check("app", true);
        check("other", false);
        check("!app", false);
        check("!other", true);
        check("! other , app", true);
    }

    #[test]
    fn sets() {
        check("app in (web)", true);
        check("app in (a,web , b)", true);
        check("app in (a,b)", false);
        check("other in (a)", false);
        check("app notin (web)", false);
        check("app notin (a,b)", true);
        check("other notin (a)", true);
        check("app in (web),empty notin (x),!other", true);
    }

    #[test]
    fn words_of_the_language_are_keys_and_values_too() {
        assert!(LabelSelector::parse("in in (in,notin)").unwrap().matches("in:notin"));
        assert!(LabelSelector::parse("notin=in").unwrap().matches("notin:in"));
        assert!(!LabelSelector::parse("!in").unwrap().matches("in:x"));
    }

    #[test]
    fn numbers_are_compared() {
        check("weight>11", true);
        check("weight > 12", false);
        check("weight<13", true);
        check("app>1", false);
        check("other<1", false);
        check_bad("weight>x", "\"x\" is no whole number");
    }

    #[test]
    fn what_is_no_selector_says_where() {
        check_bad("===", "found \"=\" where a key was expected");
        check_bad("app=web,", "found \"\" where a key was expected");
        check_bad(",", "found \",\" where a key was expected");
        check_bad(
            "app web",
            "found \"web\" where '=', '!=', 'in', 'notin', '<', '>' or ',' was expected",
        );
        check_bad("app in web", "found \"web\" where '(' was expected");
        check_bad("app in (web", "found \"\" where ',' or ')' was expected");
        check_bad("app in ()", "there is no value between the parentheses");
        check_bad("app in (a b)", "found \"b\" where ',' or ')' was expected");
        check_bad("app=web)", "found \")\" where ',' or the end was expected");
        check_bad("!app=web", "found \"=\" where ',' or the end was expected");
        check_bad("app=(", "found \"(\" where a value was expected");
    }

    #[test]
    fn keys_and_values_are_those_of_labels() {
        for key in ["a/b/c", "/a", "A.com/a", "-a", "a.", "a$", "ü"] {
            check_bad(key, &format!("{key:?} is no key of a label"));
        }
        check_bad("app=a:b", "\"a:b\" is no value of a label");
        check_bad("app in (-)", "\"-\" is no value of a label");
        let (longest, longer) = ("x".repeat(63), "x".repeat(64));
        check(&format!("{longest}={longest}"), false);
        check_bad(&format!("app={longer}"), &format!("{longer:?} is no value of a label"));
        let prefix = "a.".repeat(126);
        check(&format!("{prefix}b/c"), false);
        let long = format!("{prefix}bc/c");
        check_bad(&long, &format!("{long:?} is no key of a label"));
    }

    #[test]
    fn there_is_a_limit_to_what_is_asked_for() {
        let many = |text: &str, times: usize| vec![text; times].join(",");
        check(&many("app", REQUIREMENTS), true);
        check_bad(&many("app", REQUIREMENTS + 1), "there are more than 64 requirements");
        check(&format!("app in ({})", many("web", VALUES)), true);
        let values = format!("app in ({})", many("web", VALUES + 1));
        check_bad(&values, "there are more than 1000 values");
        let together = format!("app=web,app in ({})", many("web", VALUES));
        check_bad(&together, "there are more than 1000 values");
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[a-z/!=<>,() \\-.]{0,24}|\\PC{0,12}") {
            if let Ok(selector) = LabelSelector::parse(&text) {
                selector.matches(LABELS);
            }
        }
    }
}

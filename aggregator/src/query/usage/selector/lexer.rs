//! A selector's text, cut into words and signs.

/// A word or a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    Word(&'a str),
    Not,
    /// `=` or `==`.
    Equals,
    NotEquals,
    Above,
    Below,
    Open,
    Close,
    Comma,
    End,
}

impl<'a> Token<'a> {
    /// As it is written, of two ways the shorter.
    pub(super) fn text(&self) -> &'a str {
        match self {
            Self::Word(word) => word,
            Self::Not => "!",
            Self::Equals => "=",
            Self::NotEquals => "!=",
            Self::Above => ">",
            Self::Below => "<",
            Self::Open => "(",
            Self::Close => ")",
            Self::Comma => ",",
            Self::End => "",
        }
    }
}

/// What is left of a text.
pub(super) struct Lexer<'a>(&'a str);

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The next one, which stays.
    pub(super) fn peek(&self) -> Token<'a> {
        self.split().0
    }

    /// The next one.
    pub(super) fn next(&mut self) -> Token<'a> {
        let (token, rest) = self.split();
        self.0 = rest;
        token
    }

    fn split(&self) -> (Token<'a>, &'a str) {
        const SIGNS: [(&str, Token<'static>); 9] = [
            ("==", Token::Equals),
            ("=", Token::Equals),
            ("!=", Token::NotEquals),
            ("!", Token::Not),
            (">", Token::Above),
            ("<", Token::Below),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ];
        let text = self.0.trim_start_matches(is_space);
        if text.is_empty() {
            return (Token::End, text);
        }
        let sign = SIGNS.iter().find_map(|(sign, token)| Some((*token, text.strip_prefix(sign)?)));
        sign.unwrap_or_else(|| {
            let is_end = |letter: char| is_space(letter) || "=!><(),".contains(letter);
            let (word, rest) = text.split_at(text.find(is_end).unwrap_or(text.len()));
            (Token::Word(word), rest)
        })
    }
}

fn is_space(letter: char) -> bool {
    matches!(letter, ' ' | '\t' | '\r' | '\n')
}

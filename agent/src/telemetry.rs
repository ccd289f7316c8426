//! Logs, and how an error is written with all its causes.

use std::{
    error::Error,
    fmt,
    io::{self, IsTerminal},
};

use tracing_subscriber::{EnvFilter, filter::ParseError};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Logs could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum NoLog {
    /// The filter is none.
    #[error("the log filter {0:?} is not valid")]
    Filter(String, #[source] ParseError),
    /// Another part of the process has set up logs.
    #[error("logs are set up already")]
    SetUp(#[source] Box<dyn Error + Send + Sync>),
}

/// Writes logs to standard error from now on.
pub fn init(filter: &str, format: LogFormat) -> Result<(), NoLog> {
    let levels = parse_filter(filter)?;
    let lines = tracing_subscriber::fmt()
        .with_env_filter(levels)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(NoLog::SetUp)
}

/// Checks a filter such as `info` or `tally_agent=debug,warn`.
pub fn parse_filter(filter: &str) -> Result<EnvFilter, NoLog> {
    filter.parse().map_err(|source| NoLog::Filter(filter.to_owned(), source))
}

/// An error and its causes on one line. A cause that its error already spells out is left out.
pub fn chain(error: &dyn Error) -> impl fmt::Display {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.ends_with(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read the host")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot open /proc/stat")]
    struct Inner(#[from] io::Error);

    #[test]
    fn a_chain_names_every_cause_once() {
        let error = Outer(Inner(io::Error::other("no such file")));
        assert_eq!(
            chain(&error).to_string(),
            "cannot read the host: cannot open /proc/stat: no such file"
        );
    }

    #[derive(Debug, thiserror::Error)]
    #[error("cannot connect: {0}")]
    struct SpellsOut(#[source] io::Error);

    #[test]
    fn a_cause_that_its_error_spells_out_is_not_said_twice() {
        let error = SpellsOut(io::Error::other("refused"));
        assert_eq!(chain(&error).to_string(), "cannot connect: refused");
    }

    #[test]
    fn a_filter_is_checked() {
        assert!(parse_filter("tally_agent=debug,warn").is_ok());
        assert_eq!(
            parse_filter("tally=loud").unwrap_err().to_string(),
            "the log filter \"tally=loud\" is not valid"
        );
    }
}

//! Logs: how they are set up, and how an error is told with its causes.

use std::{
    error::Error,
    io::{self, IsTerminal},
};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError};

/// How a log line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Each of their faults is told again and again, and ours are told once.
const SILENT: &str = "kube_client=off,kube_runtime=off";

/// Reads what to log.
pub fn filter(text: &str) -> Result<EnvFilter, ParseError> {
    // What is said later of the same part wins.
    EnvFilter::try_new(format!("{SILENT},{text}"))
}

/// Sends logs to standard error, in `format`, as far as `filter` lets them through.
pub fn init(filter: EnvFilter, format: LogFormat) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => builder.init(),
        LogFormat::Json => builder.json().flatten_event(true).init(),
    }
}

/// An error and what caused it, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some libraries' errors say their causes themselves.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::fmt::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("cannot have it: {0}")]
    struct Talkative(#[source] Outer);

    #[test]
    fn a_cause_that_was_told_is_not_told_again() {
        let text = chain(&Talkative(Outer(std::fmt::Error)));
        assert_eq!(text, format!("cannot have it: cannot read it: {}", std::fmt::Error));
    }

    #[test]
    fn a_chain_has_every_cause_once() {
        assert_eq!(chain(&Outer(std::fmt::Error)), format!("cannot read it: {}", std::fmt::Error));
    }
}

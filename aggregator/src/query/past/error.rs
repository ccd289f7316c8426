//! Why a question to history has no answer.

use crate::history::error::HistoryError;

/// Why a question to history has no answer.
#[derive(Debug, thiserror::Error)]
pub enum PastError {
    /// The answer would be larger than one may be.
    #[error("the answer would have more than {limit} {what}: ask for {instead}")]
    TooLarge {
        /// What is too many.
        what: &'static str,
        /// How many are allowed.
        limit: usize,
        /// What to do.
        instead: &'static str,
    },
    /// More would have to be read than one question may.
    #[error(transparent)]
    TooMuch(HistoryError),
    /// It took too long, or nobody waits for it any more.
    #[error("the question was given up")]
    Stopped,
    /// The disk refuses, or what it gave is damaged.
    #[error("history cannot be read")]
    Fault(#[source] HistoryError),
}

impl From<HistoryError> for PastError {
    fn from(error: HistoryError) -> Self {
        match error {
            HistoryError::TooMuch { .. } => Self::TooMuch(error),
            HistoryError::Stopped => Self::Stopped,
            HistoryError::Disk { .. }
            | HistoryError::Block { .. }
            | HistoryError::Damaged { .. }
            | HistoryError::Newer { .. }
            | HistoryError::Restless { .. } => Self::Fault(error),
        }
    }
}

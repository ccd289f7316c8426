//! Refusals as gRPC statuses: a code that tells the agent what to do, and the whole chain of
//! reasons as the message.

use std::error::Error as _;

use tally_proto::decode::BadMessage;
use tonic::Status;

use crate::{admission, model::writer::BadFrame, telemetry::chain};

/// Why a message ends its stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// It breaks the schema or a limit.
    #[error("bad message")]
    Message(#[from] BadMessage),
    /// It breaks a rule.
    #[error("refused")]
    Rule(#[from] admission::Refusal),
    /// Its columns can't be read.
    #[error("bad frame")]
    Frame(#[from] BadFrame),
    /// Another agent speaks for the node.
    #[error(
        "hello.node {0:?} already has an agent on another boot of a host; give each host its own \
         --node"
    )]
    NodeTaken(String),
    /// A newer stream of the same host speaks for the node.
    #[error("a newer stream of this node took over")]
    TakenOver,
    /// Frames of this stream could not be recorded, and can be now.
    #[error("the disk has room again: send again what was not acknowledged")]
    Resend,
}

impl Refused {
    /// A word for the counter of refusals.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Message(BadMessage::Version(_)) => "schema_version",
            Self::Message(_) => "bad_message",
            Self::Rule(rule) => rule.reason(),
            Self::Frame(_) => "bad_frame",
            Self::NodeTaken(_) => "node_taken",
            Self::TakenOver => "taken_over",
            Self::Resend => "resend",
        }
    }

    /// What the agent is told.
    pub(super) fn status(&self) -> Status {
        let message = match self {
            Self::Message(_) | Self::Rule(_) | Self::Frame(_) => {
                self.source().map(chain).unwrap_or_default()
            }
            Self::NodeTaken(_) | Self::TakenOver | Self::Resend => self.to_string(),
        };
        match self {
            Self::Message(BadMessage::Version(_))
            | Self::Rule(
                admission::Refusal::Resolution { .. } | admission::Refusal::Future { .. },
            ) => Status::failed_precondition(message),
            Self::Rule(admission::Refusal::Entities(..)) => Status::resource_exhausted(message),
            Self::Message(_) | Self::Rule(_) | Self::Frame(_) => Status::invalid_argument(message),
            Self::NodeTaken(_) => Status::already_exists(message),
            Self::TakenOver => Status::aborted(message),
            Self::Resend => Status::unavailable(message),
        }
    }
}

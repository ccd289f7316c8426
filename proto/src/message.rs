//! What goes over a stream, as types.

use std::time::Duration;

use bytes::Bytes;

use crate::{
    declaration::{ColumnDeclaration, EntityDeclaration, EntityNumber},
    name::NodeName,
    tick::{Resolution, Tick},
};

/// The version of the schema that this code speaks.
pub const SCHEMA_VERSION: u32 = 1;

/// One boot of a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BootId(pub [u8; 16]);

/// One process of an agent: a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Run(pub u64);

/// Counts the frames of a run from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Who speaks, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The node.
    pub node: NodeName,
    /// Its boot.
    pub boot: BootId,
    /// The agent's process.
    pub run: Run,
    /// Time between its ticks.
    pub resolution: Resolution,
    /// Its version, for people.
    pub agent_version: String,
    /// How long it can wait for the acknowledgement of a frame; zero when it waits for each.
    pub acknowledge_within: Duration,
}

/// The answer to a hello.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The highest sequence of this run that is already counted.
    pub acknowledged: Sequence,
}

/// Meanings of numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declarations {
    /// New entities.
    pub entities: Vec<EntityDeclaration>,
    /// New columns.
    pub columns: Vec<ColumnDeclaration>,
    /// Entities that are gone.
    pub retired: Vec<EntityNumber>,
}

impl Declarations {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.columns.is_empty() && self.retired.is_empty()
    }
}

/// All readings of one node at one tick, its columns still packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedFrame {
    /// Its place in the run.
    pub sequence: Sequence,
    /// Its time.
    pub tick: Tick,
    /// What [`crate::columns`] packed.
    pub columns: Bytes,
}

/// What an agent says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentMessage {
    /// The first message, and only the first.
    Hello(Hello),
    /// Meanings of numbers that later frames use.
    Declarations(Declarations),
    /// One tick.
    Frame(PackedFrame),
    /// Of a kind that only newer versions know: it is passed over.
    Unknown,
}

/// What an aggregator says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AggregatorMessage {
    /// The answer to a hello.
    Welcome(Welcome),
    /// Every frame up to this one may be forgotten.
    Ack(Sequence),
    /// Of a kind that only newer versions know: it is passed over.
    Unknown,
}

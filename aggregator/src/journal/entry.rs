//! What the journal says, entry by entry, as the payloads of its records.
//!
//! ```text
//! payload = kind: u8, stream: u32, body          (numbers little-endian)
//! ```
//! A stream here is one that began in the same segment. Begin and Said carry the agent's own
//! messages as on the wire; Base and Frame their packed columns. Reading trusts nothing.

use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message as _;
use tally_proto::{
    decode, encode,
    message::{AgentMessage, Declarations, Hello, PackedFrame, Sequence},
    record::{self, TooLong},
    tick::Tick,
};

use super::known;
use crate::inventory::Inventory;

/// Which stream of a segment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamNumber(pub u32);

/// Whether a frame counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the first of its node for its tick: every tick before is older.
    New,
    /// It is not newer than all of its node before it; history knows whether it has its tick.
    Doubtful,
    /// It was recorded before: what follows are differences from it, and that is all.
    Step,
}

/// One thing that a stream said.
#[derive(Clone, Debug)]
pub enum Entry {
    /// It begins; numbers have no meaning yet.
    Begin(Hello),
    /// What numbers mean.
    Said(Declarations),
    /// What the API server knew of the node and its pods, from here on.
    Known(Arc<Inventory>),
    /// The values that the next frame follows on: a key frame that does not count.
    Base(PackedFrame),
    /// A frame.
    Frame(PackedFrame, Standing),
}

/// Declarations in one record: with the longest texts allowed they take under a quarter of one.
const DECLARATIONS_MAX: usize = 100;

const BEGIN: u8 = 1;
const SAID: u8 = 2;
const KNOWN: u8 = 3;
const BASE: u8 = 4;
const FRAME: u8 = 5;
const DOUBTFUL: u8 = 6;
const STEP: u8 = 7;

/// A record that is whole and yet says nothing that it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of kind {0} is malformed")]
pub struct BadEntry(pub u8);

/// Appends the beginning of a stream.
pub fn push_begin(stream: StreamNumber, hello: &Hello, out: &mut Vec<u8>) -> Result<(), TooLong> {
    push_message(BEGIN, stream, AgentMessage::Hello(hello.clone()), out)
}

/// Appends declarations, in as many records as they need.
pub fn push_said(
    stream: StreamNumber,
    said: &Declarations,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let mut part = |said| push_message(SAID, stream, AgentMessage::Declarations(said), out);
    if !said.retired.is_empty() {
        part(Declarations { retired: said.retired.clone(), ..Default::default() })?;
    }
    for entities in said.entities.chunks(DECLARATIONS_MAX) {
        part(Declarations { entities: entities.to_vec(), ..Default::default() })?;
    }
    for columns in said.columns.chunks(DECLARATIONS_MAX) {
        part(Declarations { columns: columns.to_vec(), ..Default::default() })?;
    }
    Ok(())
}

/// Appends what is known of a node, as [`known::encode`] has it.
pub fn push_known(stream: StreamNumber, known: &[u8], out: &mut Vec<u8>) -> Result<(), TooLong> {
    record::append(out, |out| {
        push_head(KNOWN, stream, out);
        out.extend_from_slice(known);
    })
}

/// Appends values that the next frame follows on.
pub fn push_base(
    stream: StreamNumber,
    (sequence, tick): (Sequence, Tick),
    columns: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    push_columns(BASE, stream, (sequence, tick), columns, out)
}

/// Appends a frame.
pub fn push_frame(
    stream: StreamNumber,
    frame: &PackedFrame,
    standing: Standing,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let kind = match standing {
        Standing::New => FRAME,
        Standing::Doubtful => DOUBTFUL,
        Standing::Step => STEP,
    };
    push_columns(kind, stream, (frame.sequence, frame.tick), &frame.columns, out)
}

fn push_head(kind: u8, StreamNumber(stream): StreamNumber, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&stream.to_le_bytes());
}

fn push_message(
    kind: u8,
    stream: StreamNumber,
    message: AgentMessage,
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    let message = encode::agent_message(message);
    record::append(out, |out| {
        push_head(kind, stream, out);
        message.encode_raw(out);
    })
}

fn push_columns(
    kind: u8,
    stream: StreamNumber,
    (Sequence(sequence), Tick(tick)): (Sequence, Tick),
    columns: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), TooLong> {
    record::append(out, |out| {
        push_head(kind, stream, out);
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&tick.to_le_bytes());
        out.extend_from_slice(columns);
    })
}

/// Which stream a payload is of, and who it is where it begins.
pub fn beginning(payload: &Bytes) -> Option<(StreamNumber, Option<Hello>)> {
    let (kind, rest) = payload.split_first()?;
    let (stream, _) = rest.split_first_chunk()?;
    let hello = match *kind {
        BEGIN => match entry(payload.clone()) {
            Ok(Some((_, Entry::Begin(hello)))) => Some(hello),
            _ => return None,
        },
        _ => None,
    };
    Some((StreamNumber(u32::from_le_bytes(*stream)), hello))
}

/// Takes a payload apart. `None` for a kind that only newer versions know; it is passed over.
pub fn entry(mut payload: Bytes) -> Result<Option<(StreamNumber, Entry)>, BadEntry> {
    let kind = payload.try_get_u8().map_err(|_| BadEntry(0))?;
    let bad = || BadEntry(kind);
    let stream = StreamNumber(payload.try_get_u32_le().map_err(|_| bad())?);
    let entry = match kind {
        BEGIN | SAID => match (kind, message(payload).ok_or_else(bad)?) {
            (BEGIN, AgentMessage::Hello(hello)) => Entry::Begin(hello),
            (SAID, AgentMessage::Declarations(said)) => Entry::Said(said),
            _ => return Err(bad()),
        },
        KNOWN => Entry::Known(Arc::new(known::decode(&payload).map_err(|_| bad())?)),
        BASE => Entry::Base(columns(payload).ok_or_else(bad)?),
        FRAME => Entry::Frame(columns(payload).ok_or_else(bad)?, Standing::New),
        DOUBTFUL => Entry::Frame(columns(payload).ok_or_else(bad)?, Standing::Doubtful),
        STEP => Entry::Frame(columns(payload).ok_or_else(bad)?, Standing::Step),
        _ => return Ok(None),
    };
    Ok(Some((stream, entry)))
}

fn message(payload: Bytes) -> Option<AgentMessage> {
    decode::agent_message(prost::Message::decode(payload).ok()?).ok()
}

fn columns(mut payload: Bytes) -> Option<PackedFrame> {
    let sequence = Sequence(payload.try_get_u64_le().ok()?);
    let tick = Tick(payload.try_get_u64_le().ok()?);
    Some(PackedFrame { sequence, tick, columns: payload })
}

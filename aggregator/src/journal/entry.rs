//! What the journal says, entry by entry, as the payloads of its records.
//!
//! ```text
//! payload = kind: u8, stream: u32, body          (numbers little-endian)
//! ```
//! A stream here is one that began in the same segment. Begin and Said carry the agent's own
//! messages as on the wire; Base and Frame their packed columns. A body that is longer than a record
//! may be comes in parts, of which the last has its kind. Reading trusts nothing.

use std::collections::HashMap;

use std::sync::Arc;

use bytes::{Buf, Bytes};
use prost::Message as _;
use tally_proto::{
    decode, encode,
    message::{AgentMessage, Declarations, Hello, PackedFrame, Sequence},
    record::{self, PAYLOAD_BYTES},
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
const PART: u8 = 8;

/// Kind and stream.
const HEAD_BYTES: usize = 5;

/// The longest body that is put together of parts. The values of the largest node that is admitted
/// take 10 MB; what is known of a node, some kilobytes for each of its pods.
pub const LONGEST_BODY: usize = 64 << 20;

/// A record that is whole and yet says nothing that it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an entry of kind {0} is malformed")]
pub struct BadEntry(pub u8);

/// Appends the beginning of a stream.
pub fn push_begin(stream: StreamNumber, hello: &Hello, out: &mut Vec<u8>) {
    push_message(BEGIN, stream, AgentMessage::Hello(hello.clone()), out);
}

/// Appends declarations, in as many records as they need.
pub fn push_said(stream: StreamNumber, said: &Declarations, out: &mut Vec<u8>) {
    let mut part = |said| push_message(SAID, stream, AgentMessage::Declarations(said), out);
    if !said.retired.is_empty() {
        part(Declarations { retired: said.retired.clone(), ..Default::default() });
    }
    for entities in said.entities.chunks(DECLARATIONS_MAX) {
        part(Declarations { entities: entities.to_vec(), ..Default::default() });
    }
    for columns in said.columns.chunks(DECLARATIONS_MAX) {
        part(Declarations { columns: columns.to_vec(), ..Default::default() });
    }
}

/// Appends what is known of a node, as [`known::encode`] has it, up to [`LONGEST_BODY`].
pub fn push_known(stream: StreamNumber, known: &[u8], out: &mut Vec<u8>) {
    push(KNOWN, stream, |out| out.extend_from_slice(known), out);
}

/// Appends values that the next frame follows on.
pub fn push_base(
    stream: StreamNumber,
    (sequence, tick): (Sequence, Tick),
    columns: &[u8],
    out: &mut Vec<u8>,
) {
    push_columns(BASE, stream, (sequence, tick), columns, out);
}

/// Appends a frame.
pub fn push_frame(
    stream: StreamNumber,
    frame: &PackedFrame,
    standing: Standing,
    out: &mut Vec<u8>,
) {
    let kind = match standing {
        Standing::New => FRAME,
        Standing::Doubtful => DOUBTFUL,
        Standing::Step => STEP,
    };
    push_columns(kind, stream, (frame.sequence, frame.tick), &frame.columns, out);
}

fn push_message(kind: u8, stream: StreamNumber, message: AgentMessage, out: &mut Vec<u8>) {
    let message = encode::agent_message(message);
    push(kind, stream, |out| message.encode_raw(out), out);
}

fn push_columns(
    kind: u8,
    stream: StreamNumber,
    (Sequence(sequence), Tick(tick)): (Sequence, Tick),
    columns: &[u8],
    out: &mut Vec<u8>,
) {
    let body = |out: &mut Vec<u8>| {
        out.extend_from_slice(&sequence.to_le_bytes());
        out.extend_from_slice(&tick.to_le_bytes());
        out.extend_from_slice(columns);
    };
    push(kind, stream, body, out);
}

/// Appends a body as one record, or where it is too long for one as several.
fn push(kind: u8, stream: StreamNumber, body: impl Fn(&mut Vec<u8>), out: &mut Vec<u8>) {
    let whole = record::append(out, |out| {
        push_head(kind, stream, out);
        body(out);
    });
    if whole.is_ok() {
        return;
    }
    let mut all = Vec::new();
    body(&mut all);
    let mut parts = all.chunks(PAYLOAD_BYTES - HEAD_BYTES).peekable();
    while let Some(part) = parts.next() {
        let kind = if parts.peek().is_some() { PART } else { kind };
        let appended = record::append(out, |out| {
            push_head(kind, stream, out);
            out.extend_from_slice(part);
        });
        debug_assert!(appended.is_ok(), "a part is as long as a record may be");
    }
}

fn push_head(kind: u8, StreamNumber(stream): StreamNumber, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&stream.to_le_bytes());
}

/// Which stream a payload is of, and who it is where it begins.
pub fn beginning(payload: &Bytes) -> Option<(StreamNumber, Option<Hello>)> {
    let (kind, stream, body) = head(payload.clone()).ok()?;
    if kind != BEGIN {
        return Some((stream, None));
    }
    match entry(kind, body) {
        Ok(Some(Entry::Begin(hello))) => Some((stream, Some(hello))),
        _ => None,
    }
}

/// Whether a payload declares what begins.
pub fn is_said(payload: &Bytes) -> bool {
    payload.first() == Some(&SAID)
}

/// Takes payloads apart, one after the other as they lie in a segment; those of some streams may be
/// left out.
#[derive(Debug, Default)]
pub struct EntryReader {
    /// The parts so far of bodies that are not whole yet.
    parts: HashMap<StreamNumber, Vec<u8>>,
}

impl EntryReader {
    /// The entry that a payload is, or of which it is the last part. `None` for another part, and
    /// for a kind that only newer versions know; it is passed over.
    pub fn next(&mut self, payload: Bytes) -> Result<Option<(StreamNumber, Entry)>, BadEntry> {
        let (kind, stream, body) = head(payload)?;
        if kind == PART {
            let parts = self.parts.entry(stream).or_default();
            if LONGEST_BODY < parts.len() + body.len() {
                self.parts.remove(&stream);
                return Err(BadEntry(kind));
            }
            parts.extend_from_slice(&body);
            return Ok(None);
        }
        let body = match self.parts.is_empty() {
            true => body,
            false => match self.parts.remove(&stream) {
                Some(mut parts) => {
                    parts.extend_from_slice(&body);
                    parts.into()
                }
                None => body,
            },
        };
        Ok(entry(kind, body)?.map(|entry| (stream, entry)))
    }
}

fn head(mut payload: Bytes) -> Result<(u8, StreamNumber, Bytes), BadEntry> {
    let kind = payload.try_get_u8().map_err(|_| BadEntry(0))?;
    let stream = payload.try_get_u32_le().map_err(|_| BadEntry(kind))?;
    Ok((kind, StreamNumber(stream), payload))
}

fn entry(kind: u8, body: Bytes) -> Result<Option<Entry>, BadEntry> {
    let bad = || BadEntry(kind);
    let entry = match kind {
        BEGIN | SAID => match (kind, message(body).ok_or_else(bad)?) {
            (BEGIN, AgentMessage::Hello(hello)) => Entry::Begin(hello),
            (SAID, AgentMessage::Declarations(said)) => Entry::Said(said),
            _ => return Err(bad()),
        },
        KNOWN => Entry::Known(Arc::new(known::decode(&body).map_err(|_| bad())?)),
        BASE => Entry::Base(columns(body).ok_or_else(bad)?),
        FRAME => Entry::Frame(columns(body).ok_or_else(bad)?, Standing::New),
        DOUBTFUL => Entry::Frame(columns(body).ok_or_else(bad)?, Standing::Doubtful),
        STEP => Entry::Frame(columns(body).ok_or_else(bad)?, Standing::Step),
        _ => return Ok(None),
    };
    Ok(Some(entry))
}

fn message(payload: Bytes) -> Option<AgentMessage> {
    decode::agent_message(prost::Message::decode(payload).ok()?).ok()
}

fn columns(mut payload: Bytes) -> Option<PackedFrame> {
    let sequence = Sequence(payload.try_get_u64_le().ok()?);
    let tick = Tick(payload.try_get_u64_le().ok()?);
    Some(PackedFrame { sequence, tick, columns: payload })
}

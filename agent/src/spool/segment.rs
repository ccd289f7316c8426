//! The bytes of one segment: a recorded stream that needs nothing but itself to be sent.
//!
//! It begins with the hello of the run that measured it, all declarations in force and a key frame;
//! differences follow, as they would on the wire. `docs/spool.md` has the format. Reading trusts
//! nothing: what is not whole, not valid or out of order ends the segment there.

use bytes::{Buf as _, Bytes};
use prost::Message as _;
use tally_proto::{
    decode, encode,
    message::{AgentMessage, Declarations, Hello},
    record::{self, End, Records, TooLong},
};

use crate::{meanings::Meanings, outbox::Outgoing};

/// What every file begins with, before its version.
const MAGIC: [u8; 8] = *b"tallyspl";

/// The version of the format that this code writes and reads.
pub const VERSION: u32 = 1;

/// Declarations in one record: with the longest texts allowed they take under a quarter of one.
const DECLARATIONS_MAX: usize = 100;

/// What a segment holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// Who measured it.
    pub hello: Hello,
    /// Ascending by sequence without gaps, and by tick. The first is a key frame, and is declared
    /// with all that is in force.
    pub frames: Vec<Outgoing>,
    /// How it ended.
    pub end: End,
}

/// A file that says nothing to this version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A newer agent wrote it.
    #[error("it has version {0} of the format, this agent reads {VERSION}")]
    Newer(u32),
    /// Not even its beginning is there.
    #[error("it does not begin as a segment does")]
    NoBeginning,
}

/// Begins a segment: who speaks.
pub fn begin(hello: &Hello, out: &mut Vec<u8>) -> Result<(), TooLong> {
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    push(AgentMessage::Hello(hello.clone()), 0, out)
}

/// Adds one frame, after its declarations. `out` is as before when it is too long.
pub fn push_frame(outgoing: Outgoing, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let Outgoing { declarations, frame, samples } = outgoing;
    let start = out.len();
    let pushed = push_declarations(declarations, out)
        .and_then(|()| push(AgentMessage::Frame(frame), samples, out));
    if pushed.is_err() {
        out.truncate(start);
    }
    pushed
}

fn push_declarations(said: Declarations, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let Declarations { entities, columns, retired } = said;
    let part =
        |said: Declarations, out: &mut Vec<u8>| push(AgentMessage::Declarations(said), 0, out);
    if !retired.is_empty() {
        part(Declarations { retired, ..Default::default() }, out)?;
    }
    for entities in entities.chunks(DECLARATIONS_MAX) {
        part(Declarations { entities: entities.to_vec(), ..Default::default() }, out)?;
    }
    for columns in columns.chunks(DECLARATIONS_MAX) {
        part(Declarations { columns: columns.to_vec(), ..Default::default() }, out)?;
    }
    Ok(())
}

fn push(message: AgentMessage, samples: u32, out: &mut Vec<u8>) -> Result<(), TooLong> {
    let message = encode::agent_message(message);
    record::append(out, |out| {
        out.extend_from_slice(&samples.to_le_bytes());
        message.encode_raw(out);
    })
}

/// Reads a whole file. The frames share its memory.
pub fn read(bytes: &Bytes) -> Result<Contents, Unreadable> {
    let (magic, rest) = bytes.split_first_chunk().ok_or(Unreadable::NoBeginning)?;
    let (version, rest) = rest.split_first_chunk().ok_or(Unreadable::NoBeginning)?;
    match u32::from_le_bytes(*version) {
        _ if *magic != MAGIC => return Err(Unreadable::NoBeginning),
        VERSION => (),
        0 => return Err(Unreadable::NoBeginning),
        newer => return Err(Unreadable::Newer(newer)),
    }
    let mut records = Records::new(rest);
    let hello = match records.next().and_then(|payload| message(bytes, payload)) {
        Some((AgentMessage::Hello(hello), _)) => hello,
        _ => return Err(Unreadable::NoBeginning),
    };
    let (frames, understood) = frames(bytes, &mut records);
    let end = if understood { records.end().unwrap_or(End::Whole) } else { End::Damaged };
    Ok(Contents { hello, frames, end })
}

/// The frames up to where the records end, or are not what they must be.
fn frames(bytes: &Bytes, records: &mut Records<'_>) -> (Vec<Outgoing>, bool) {
    let mut frames: Vec<Outgoing> = Vec::new();
    let mut said = Meanings::default();
    for payload in records {
        match message(bytes, payload) {
            Some((AgentMessage::Declarations(more), _)) => said.apply(more),
            Some((AgentMessage::Frame(frame), samples)) => {
                let follows = frames.last().is_none_or(|before| {
                    frame.sequence.0 == before.frame.sequence.0 + 1
                        && before.frame.tick < frame.tick
                });
                if !follows {
                    return (frames, false);
                }
                let declarations = std::mem::take(&mut said).into_declarations();
                frames.push(Outgoing { declarations, frame, samples });
            }
            // What only newer agents say within this version is passed over.
            Some((AgentMessage::Unknown, _)) => (),
            Some((AgentMessage::Hello(_), _)) | None => return (frames, false),
        }
    }
    (frames, true)
}

fn message(bytes: &Bytes, payload: &[u8]) -> Option<(AgentMessage, u32)> {
    let mut payload = bytes.slice_ref(payload);
    let samples = payload.try_get_u32_le().ok()?;
    let message = decode::agent_message(prost::Message::decode(payload).ok()?).ok()?;
    Some((message, samples))
}

#[cfg(test)]
mod tests;

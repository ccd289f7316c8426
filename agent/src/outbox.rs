//! Frames that are not acknowledged yet, oldest first, bounded by their number and their bytes.
//!
//! A frame is packed once, as differences from the frame before, and those bytes are what is
//! kept and what is sent. For that chain to begin anywhere, the outbox also keeps what was true
//! before its oldest frame: the declarations in force and the absolute values. Frames that leave
//! it, acknowledged or dropped, are folded into those. A new stream then begins with all
//! declarations and the oldest frame packed as a key frame; all others follow as they are kept.
//!
//! When full, the oldest frame goes: what is newest is what people look at, and a lost frame costs
//! resolution but never truth. It is counted, unless it is kept elsewhere ([`crate::spool`]). No
//! frame waits for the network to be taken in.

use std::{collections::VecDeque, mem, time::Duration};

use bytes::Bytes;
use tally_proto::{
    columns::{BadColumns, Columns, Packer, pack_key, unpack},
    limits::MESSAGE_BYTES,
    message::{Declarations, PackedFrame, Sequence},
    tick::Tick,
};

use crate::{
    handover::Reading,
    meanings::{Meanings, without_retired_anew},
};

/// Bytes of one frame's columns, so that its message with a few fields more stays in the limit.
/// A larger frame would be refused for ever, so it is dropped.
pub const FRAME_BYTES_MAX: usize = MESSAGE_BYTES - 1024;

/// What an entry takes beside its columns' bytes.
const ENTRY_BYTES: usize = mem::size_of::<Entry>();

/// About what one declaration takes with its names.
const DECLARATION_BYTES: usize = 256;

/// How much the outbox holds before it drops the oldest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Frames, at least one.
    pub frames: usize,
    /// Bytes of frames and the declarations that came with them.
    pub bytes: usize,
}

/// One frame to send, and what to declare before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// To be said first, if not empty.
    pub declarations: Declarations,
    /// The frame.
    pub frame: PackedFrame,
    /// Values in it.
    pub samples: u32,
}

/// Frames that are not acknowledged yet.
#[derive(Debug)]
pub struct Outbox {
    limits: Limits,
    packer: Packer,
    /// Where a frame is packed before its exact size is known.
    packed: Vec<u8>,
    entries: VecDeque<Entry>,
    bytes: usize,
    /// What was true before the oldest entry.
    base: Base,
    /// The values of the newest frame, whether it is still kept or not.
    newest: Columns,
    last: Sequence,
    /// How many entries, from the oldest on, the present stream was sent.
    sent: usize,
    /// The highest sequence that any stream was sent.
    highest_sent: Sequence,
    /// The tick that the present stream was sent last.
    last_tick: Option<Tick>,
    receiver: Receiver,
    dropped: Lost,
}

/// Frames that are given up, and the values in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Frames.
    pub frames: u64,
    /// Values.
    pub samples: u64,
}

impl Lost {
    /// Both together.
    pub fn add(&mut self, more: Lost) {
        self.frames += more.frames;
        self.samples += more.samples;
    }
}

#[derive(Debug)]
struct Entry {
    declarations: Declarations,
    frame: PackedFrame,
    samples: u32,
    /// When it was taken in.
    since: Duration,
}

#[derive(Debug, Default)]
struct Base {
    meanings: Meanings,
    /// Stale while there is no entry: then [`Outbox::newest`] holds.
    columns: Columns,
}

/// What the other end of the present stream knows.
#[derive(Debug)]
enum Receiver {
    /// Nothing: the stream is new.
    Blank,
    /// Everything up to the last entry it was sent, or to the base.
    InStep,
    /// It has missed frames that left the outbox unsent, and these declarations with them.
    Behind(Meanings),
}

impl Outbox {
    /// An empty outbox, for a new run.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            packer: Packer::new(),
            packed: Vec::new(),
            entries: VecDeque::new(),
            bytes: 0,
            base: Base::default(),
            newest: Columns::default(),
            last: Sequence::default(),
            sent: 0,
            highest_sent: Sequence::default(),
            last_tick: None,
            receiver: Receiver::Blank,
            dropped: Lost::default(),
        }
    }

    /// Takes a frame in at `now`. Hands back a buffer that is no longer needed.
    pub fn push(&mut self, reading: Reading, now: Duration) -> Columns {
        let Reading { tick, declarations, columns } = reading;
        self.packed.clear();
        self.packer.pack(&columns, &mut self.packed);
        let samples = columns.values.iter().map(Vec::len).sum::<usize>();
        let before = mem::replace(&mut self.newest, columns);
        let unneeded = if self.entries.is_empty() {
            mem::replace(&mut self.base.columns, before)
        } else {
            before
        };
        self.last = Sequence(self.last.0 + 1);
        let entry = Entry {
            declarations: without_retired_anew(declarations),
            frame: PackedFrame {
                sequence: self.last,
                tick,
                columns: Bytes::copy_from_slice(&self.packed),
            },
            samples: u32::try_from(samples).unwrap_or(u32::MAX),
            since: now,
        };
        self.bytes += entry.bytes();
        self.entries.push_back(entry);
        unneeded
    }

    /// Lets the oldest frames go while there are too many, and counts those that are not kept
    /// elsewhere.
    pub fn make_room(&mut self, is_kept_elsewhere: impl Fn(Sequence) -> bool) {
        while self.is_over() {
            match self.entries.front() {
                Some(oldest) if is_kept_elsewhere(oldest.frame.sequence) => self.fold_oldest(),
                _ => self.drop_oldest(),
            }
        }
    }

    /// Forgets every frame up to `sequence`. One that no stream was sent is not believed, one
    /// that left long ago changes nothing.
    pub fn acknowledge(&mut self, sequence: Sequence) {
        if self.highest_sent < sequence {
            return;
        }
        while self.entries.front().is_some_and(|oldest| oldest.frame.sequence <= sequence) {
            self.fold_oldest();
        }
    }

    /// Begins a new stream, whose receiver knows nothing.
    pub fn restart(&mut self) {
        self.sent = 0;
        self.last_tick = None;
        self.receiver = Receiver::Blank;
    }

    /// Whether the next frame is of no later time than the one before it on the present stream,
    /// because a clock was set back: it must wait for a stream of its own.
    pub fn goes_back(&self) -> bool {
        let next = self.entries.get(self.sent).map(|entry| entry.frame.tick);
        next.zip(self.last_tick).is_some_and(|(next, last)| next <= last)
    }

    /// Gives up the oldest frames as long as they are of a time after `now`. The last of them.
    pub fn drop_after(&mut self, now: Tick) -> Option<Sequence> {
        let mut last = None;
        while let Some(oldest) = self.entries.front().filter(|oldest| now < oldest.frame.tick) {
            last = Some(oldest.frame.sequence);
            self.drop_oldest();
        }
        last
    }

    /// The next frame that the present stream was not sent yet.
    pub fn send_next(&mut self) -> Option<Outgoing> {
        loop {
            let entry = self.entries.get(self.sent)?;
            let columns = match self.receiver {
                Receiver::InStep => entry.frame.columns.clone(),
                Receiver::Blank | Receiver::Behind(_) => self.oldest_as_key(),
            };
            if columns.len() <= FRAME_BYTES_MAX {
                return self.outgoing(columns);
            }
            if 0 < self.sent {
                // It is dropped once the frames before it are acknowledged.
                return None;
            }
            self.drop_oldest();
        }
    }

    /// Whether some frame waits to be sent on the present stream.
    pub fn has_unsent(&self) -> bool {
        self.sent < self.entries.len()
    }

    /// Frames that the present stream was sent and that are not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.sent
    }

    /// Frames that are not acknowledged.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether everything is acknowledged or dropped.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What was dropped without an acknowledgement, in this run.
    pub fn dropped(&self) -> Lost {
        self.dropped
    }

    /// The oldest frame that is kept, and when it was taken in.
    pub fn oldest(&self) -> Option<(Sequence, Duration)> {
        self.entries.front().map(|entry| (entry.frame.sequence, entry.since))
    }

    /// The newest frame that was taken in, whether it is still kept or not.
    pub fn last(&self) -> Sequence {
        self.last
    }

    /// The highest sequence that any stream was sent.
    pub fn highest_sent(&self) -> Sequence {
        self.highest_sent
    }

    /// Notes that a frame of this run was sent from elsewhere.
    pub fn sent_from_elsewhere(&mut self, sequence: Sequence) {
        self.highest_sent = self.highest_sent.max(sequence);
    }

    /// The frames after `sequence` as they are kept: each needs the one before it.
    pub fn after(&self, sequence: Sequence) -> impl Iterator<Item = Outgoing> {
        let known = self.place_after(sequence);
        self.entries.iter().skip(known).map(|entry| Outgoing {
            declarations: entry.declarations.clone(),
            frame: entry.frame.clone(),
            samples: entry.samples,
        })
    }

    /// The first frame after `sequence` as one that needs no other before it, with everything
    /// that is declared by then.
    pub fn standing_after(&self, sequence: Sequence) -> Option<Outgoing> {
        let place = self.place_after(sequence);
        let entry = self.entries.get(place)?;
        let mut meanings = self.base.meanings.clone();
        let mut columns = self.base.columns.clone();
        for entry in self.entries.iter().take(place + 1) {
            meanings.apply(entry.declarations.clone());
            own(unpack(&mut columns, &entry.frame.columns));
        }
        meanings.forget_retired();
        let mut packed = Vec::new();
        pack_key(&columns, &mut packed);
        Some(Outgoing {
            declarations: meanings.into_declarations(),
            frame: PackedFrame { columns: packed.into(), ..entry.frame.clone() },
            samples: entry.samples,
        })
    }

    fn place_after(&self, sequence: Sequence) -> usize {
        self.entries.partition_point(|entry| entry.frame.sequence <= sequence)
    }

    fn outgoing(&mut self, columns: Bytes) -> Option<Outgoing> {
        let entry = self.entries.get(self.sent)?;
        let declarations = match mem::replace(&mut self.receiver, Receiver::InStep) {
            Receiver::InStep => entry.declarations.clone(),
            Receiver::Behind(mut missed) => {
                missed.apply(entry.declarations.clone());
                missed.into_declarations()
            }
            Receiver::Blank => {
                let mut all = self.base.meanings.clone();
                all.apply(entry.declarations.clone());
                all.forget_retired();
                all.into_declarations()
            }
        };
        self.sent += 1;
        self.highest_sent = self.highest_sent.max(entry.frame.sequence);
        self.last_tick = Some(entry.frame.tick);
        let frame = PackedFrame { columns, ..entry.frame.clone() };
        Some(Outgoing { declarations, frame, samples: entry.samples })
    }

    /// The oldest frame as one that needs no other before it.
    fn oldest_as_key(&self) -> Bytes {
        let mut packed = Vec::new();
        match self.entries.front() {
            Some(oldest) if 1 < self.entries.len() => {
                let mut columns = self.base.columns.clone();
                own(unpack(&mut columns, &oldest.frame.columns));
                pack_key(&columns, &mut packed);
            }
            _ => pack_key(&self.newest, &mut packed),
        }
        packed.into()
    }

    /// Whether it is more than half full: whoever keeps frames elsewhere should begin.
    pub fn is_filling(&self) -> bool {
        let frames = self.entries.len();
        self.limits.frames < 2 * frames && 1 < frames || self.limits.bytes / 2 < self.bytes
    }

    fn is_over(&self) -> bool {
        let frames = self.entries.len();
        1 < frames && (self.limits.frames < frames || self.limits.bytes < self.bytes)
    }

    fn drop_oldest(&mut self) {
        let samples = self.entries.front().map_or(0, |oldest| u64::from(oldest.samples));
        self.dropped.add(Lost { frames: 1, samples });
        self.fold_oldest();
    }

    fn fold_oldest(&mut self) {
        let Some(Entry { declarations, frame, .. }) = self.entries.pop_front() else {
            return;
        };
        self.bytes -= frame_bytes(&declarations, &frame);
        if !self.entries.is_empty() {
            own(unpack(&mut self.base.columns, &frame.columns));
        }
        match (self.sent, &mut self.receiver) {
            (0, Receiver::Blank) => (),
            (0, Receiver::Behind(missed)) => missed.apply(declarations.clone()),
            (0, receiver @ Receiver::InStep) => {
                let mut missed = Meanings::default();
                missed.apply(declarations.clone());
                *receiver = Receiver::Behind(missed);
            }
            _ => self.sent -= 1,
        }
        self.base.meanings.apply(declarations);
        self.base.meanings.forget_retired();
    }
}

impl Entry {
    fn bytes(&self) -> usize {
        frame_bytes(&self.declarations, &self.frame)
    }
}

fn frame_bytes(declarations: &Declarations, frame: &PackedFrame) -> usize {
    let declared = declarations.entities.len() + declarations.columns.len();
    ENTRY_BYTES + frame.columns.len() + declared * DECLARATION_BYTES
}

fn own(unpacked: Result<(), BadColumns>) {
    unpacked.expect("the outbox packed these bytes itself, against this very state");
}

#[cfg(test)]
mod tests;

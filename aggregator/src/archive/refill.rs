//! The journal's segments fill the live model after a restart: each frame as it came, with what was
//! known of its pods then.

use std::{collections::HashMap, sync::Arc};

use tally_proto::{
    message::{Hello, PackedFrame, Run},
    name::NodeName,
    record::End,
    tick::Tick,
};

use super::by_node::{NodeRecords, by_node};
use crate::{
    history::disk::Disk,
    inventory::Inventory,
    journal::{
        Closed,
        entry::{self, Entry, EntryReader, StreamNumber},
        segment::{Located, Segment, SegmentError, SegmentName},
    },
    model::{Model, node::NodeSlot},
};

/// What a segment gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refilled {
    /// What it holds.
    pub holds: Closed,
    /// Its frames that the model has now.
    pub frames: u64,
    /// Why reading it ended.
    pub end: End,
}

/// Which frames the model gets: those of some of the nodes, as several threads can each take a part,
/// up to a time.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Which part, from 0.
    pub number: u64,
    /// Of how many.
    pub of: u64,
    /// The newest tick. What is recorded as later comes of a clock that was ahead: in the model it
    /// would stand before all that is measured until that time.
    pub until: Tick,
}

impl Part {
    fn has(self, node: &NodeName) -> bool {
        let mixed = |sum: u64, byte: u8| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        node.bytes().fold(0, mixed) % self.of.max(1) == self.number
    }
}

/// Gives the frames of a segment to the model, one node after the other. Segments come in the order of
/// their numbers.
pub fn refill(
    disk: &dyn Disk,
    name: SegmentName,
    model: &Model,
    part: Part,
) -> Result<Refilled, SegmentError> {
    let (nodes, read) = by_node(disk, name, |node| part.has(node))?;
    let segment = Segment::open(disk, name)?;
    let (mut ticks, mut frames) = (Ticks::default(), 0);
    // No tick is complete before all nodes are through.
    model.cluster().progress.join();
    let replayed = nodes.iter().try_for_each(|NodeRecords { records, .. }| {
        replay(&segment, records, (model, part.until), |tick| {
            ticks.add(tick);
            frames += 1;
        })
    });
    model.cluster().progress.leave();
    replayed?;
    let holds = Closed { number: name.number, ticks: ticks.0, bytes: read.bytes };
    Ok(Refilled { holds, frames, end: read.end })
}

/// Gives the frames of a node to the model, and says the tick of each that it has now.
fn replay(
    segment: &Segment,
    records: &[Located],
    (model, until): (&Model, Tick),
    mut taken: impl FnMut(Tick),
) -> Result<(), SegmentError> {
    let mut streams: HashMap<StreamNumber, Replayed> = HashMap::new();
    let mut entries = EntryReader::default();
    for located in records {
        let payload = segment.payload(*located)?;
        let Some((number, hello)) = entry::beginning(&payload) else { continue };
        if let Some(hello) = hello {
            let new = || Replayed::new(model.node(&hello.node), hello.run);
            streams.entry(number).or_insert_with(new).begin(&hello);
            continue;
        }
        let stream = streams.get_mut(&number).filter(|stream| !stream.is_broken);
        let Some(stream) = stream else { continue };
        let entry = match entries.next(payload) {
            Ok(Some((_, entry))) => entry,
            Ok(None) => continue,
            Err(error) => {
                tracing::debug!(%error, "an entry of the journal makes no sense");
                stream.is_broken = true;
                continue;
            }
        };
        stream.take(model, entry, until).into_iter().for_each(&mut taken);
    }
    for stream in streams.into_values() {
        model.end_stream(&stream.node, stream.turn);
    }
    Ok(())
}

/// The oldest and the newest of some ticks.
#[derive(Clone, Copy, Debug, Default)]
struct Ticks(Option<(Tick, Tick)>);

impl Refilled {
    /// With what another part of the nodes gave.
    pub fn and(mut self, other: &Self) -> Self {
        let ends = self.holds.ticks.into_iter().chain(other.holds.ticks);
        self.holds.ticks = ends.reduce(|(first, last), (a, b)| (first.min(a), last.max(b)));
        self.frames += other.frames;
        self
    }
}

impl Ticks {
    fn add(&mut self, tick: Tick) {
        let (first, last) = self.0.unwrap_or((tick, tick));
        self.0 = Some((first.min(tick), last.max(tick)));
    }
}

/// A stream that is read back.
struct Replayed {
    node: Arc<NodeSlot>,
    run: Run,
    turn: u64,
    known: Arc<Inventory>,
    /// A frame could not be read: nothing that follows makes sense.
    is_broken: bool,
}

impl Replayed {
    fn new(node: Arc<NodeSlot>, run: Run) -> Self {
        Self { node, run, turn: 0, known: Arc::default(), is_broken: false }
    }

    fn begin(&mut self, hello: &Hello) {
        // Another boot may follow at once: what was recorded was allowed.
        let turn = self.node.writer().begin_stream(hello.boot, Tick(0).unix_ms(), i64::MIN);
        self.turn = turn.unwrap_or(self.turn);
        self.run = hello.run;
        self.known = Arc::default();
        self.is_broken = false;
    }

    /// The tick of a frame that the window has room for.
    fn take(&mut self, model: &Model, entry: Entry, until: Tick) -> Option<Tick> {
        match entry {
            Entry::Begin(_) => None,
            Entry::Said(said) => {
                model.declare(&mut self.node.writer(), said);
                None
            }
            Entry::Known(known) => {
                self.known = known;
                None
            }
            Entry::Base(frame) => {
                self.replay(model, &frame, false);
                None
            }
            Entry::Frame(frame, _) => {
                let counts = frame.tick <= until;
                let in_window = self.replay(model, &frame, counts);
                self.node.writer().record(self.run, &frame);
                (counts && in_window).then_some(frame.tick)
            }
        }
    }

    fn replay(&mut self, model: &Model, frame: &PackedFrame, counts: bool) -> bool {
        let mut writer = self.node.writer();
        match model.replay(&self.node, &mut writer, frame, &self.known, counts) {
            Ok(applied) => !applied.too_old,
            Err(error) => {
                tracing::debug!(node = %self.node.name, %error, "a recorded frame can't be read");
                self.is_broken = true;
                false
            }
        }
    }
}

//! What the stream of a node knows between two frames: what it declared, where its differences
//! start from, and which of its frames are counted already.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, RwLock},
};

use tally_proto::{
    columns::{BadColumns, CompactColumns, Layout, has_layout, take_back, unpack},
    declaration::{ColumnNumber, EntityNumber},
    message::{self, BootId, PackedFrame, Run, Sequence},
    name::{NamespaceName, NodeName},
    tick::{Resolution, Tick, UnixMs},
};

use super::{
    arena::Arena,
    past::{Past, View},
    vocabulary::Vocabulary,
};
use crate::{
    declared::Declarations,
    inventory::Inventory,
    rollup::{Earlier, FrameSums, Plan, sums::Sums},
    roster::Roster,
    schema::Schema,
};

/// Runs whose sequence is remembered: an agent that restarts may resend what its last run left.
const RUNS: usize = 8;

/// A frame that can't be taken. The stream ends; nothing else is touched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFrame {
    /// Bytes that are no columns.
    #[error(transparent)]
    Columns(#[from] BadColumns),
    /// An entity without a meaning.
    #[error("frame.columns has values for entity {0}, which was not declared")]
    Entity(u32),
    /// A column without a meaning.
    #[error("frame.columns has column {0}, which was not declared")]
    Column(u32),
    /// Nobody knows when the values were read.
    #[error("frame.columns has no column 0, the time at which each entity was read")]
    ReadOffset,
}

/// The state of a node's stream.
#[derive(Debug)]
pub struct NodeWriter {
    node: NodeName,
    resolution: Resolution,
    /// Which stream may write. A newer stream of the same host takes over from an older one.
    stream: u64,
    /// The boot of the host that speaks, and when it last did; `None` while no stream is open.
    speaker: Option<(BootId, UnixMs)>,
    /// Whether the cluster waits for this node's ticks.
    pub joined: bool,
    declarations: Declarations,
    declared_anew: bool,
    /// Whether somebody in the frames so far may still be named.
    had_nameless: bool,
    /// The newest frame's values. Readers may hold them; then the next frame makes a copy.
    state: Arc<CompactColumns>,
    past: Past,
    /// Of the frame before: its meaning, how it counts, and its tick.
    last: Option<Last>,
    /// The last frame of the stream before this one.
    last_stream: Option<(Arc<Schema>, Tick, Arc<CompactColumns>)>,
    /// The newest frame, while its stream, or one after it, sends again what came before that: a
    /// stream that begins then goes on from here.
    newest: Option<(Arc<Schema>, Tick, Arc<CompactColumns>)>,
    /// The tick of the frame before the last.
    tick_before: Tick,
    /// The values before the last frame, where that frame does not say them: its layout or the
    /// meaning of its numbers was new.
    before: Option<Before>,
    /// The values before the first frame that the journal could not take, where any are known.
    held: Option<Option<Before>>,
    /// What was known when the last frame was recorded; `None` once a frame came live.
    known_then: Option<Arc<Inventory>>,
    counted: Vec<Tick>,
    /// For each run the highest sequence that is recorded: it need not be sent again.
    recorded: VecDeque<(Run, Sequence)>,
    /// No tick that is newer than this one is recorded.
    recorded_to: Tick,
}

/// What is known of the pods of a frame.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// What the API server says now.
    Now {
        /// All of it.
        inventory: &'a RwLock<Inventory>,
        /// Whether that changed since the frame before, for this node.
        changed: bool,
    },
    /// What it said when the frame was recorded.
    Then(&'a Arc<Inventory>),
}

impl Known<'_> {
    /// The entities of a frame by name.
    fn roster(
        &self,
        node: &NodeName,
        rows: &[EntityNumber],
        declarations: &Declarations,
        tick: Tick,
    ) -> Arc<Roster> {
        let of = |inventory: &Inventory| {
            Arc::new(Roster::new(node, rows, declarations, (inventory, tick.unix_ms())))
        };
        match self {
            Self::Now { inventory, .. } => of(&super::read(inventory)),
            Self::Then(inventory) => of(inventory),
        }
    }
}

/// Where a frame starts from: the values before it, and what they mean.
#[derive(Clone, Debug)]
pub struct Before {
    /// What the numbers mean.
    pub schema: Arc<Schema>,
    /// The tick of the values.
    pub tick: Tick,
    /// The values.
    pub columns: Arc<CompactColumns>,
    /// Whether they are of the same stream, so that the frame's differences are from them.
    pub same_stream: bool,
}

#[derive(Debug)]
struct Last {
    schema: Arc<Schema>,
    plan: Arc<Plan>,
    namespaces: Vec<Arc<Mutex<Sums>>>,
    tick: Tick,
}

/// A frame after it was unpacked, with what the caller needs to store and count it.
pub struct Unpacked {
    /// What its numbers mean.
    pub schema: Arc<Schema>,
    /// How it counts.
    pub plan: Arc<Plan>,
    /// Whether the schema is another than the frame's before.
    pub new_schema: bool,
    earlier: Option<Earlier>,
}

impl Unpacked {
    /// Whether nothing is known of the frame before.
    pub fn is_first(&self) -> bool {
        self.earlier.is_none()
    }

    /// Says what the frame before was.
    pub fn follow(&mut self, before: &Before) {
        let theirs = (&*before.schema, before.tick, &*before.columns);
        self.earlier = Some(self.plan.earlier_of(&self.schema, theirs));
    }
}

impl NodeWriter {
    /// Nothing declared, nothing counted; remembers `ticks` ticks. What is recorded of the node, if
    /// anything is, has no tick after `recorded_to`.
    pub fn new(node: NodeName, resolution: Resolution, ticks: usize, recorded_to: Tick) -> Self {
        Self {
            node,
            resolution,
            stream: 0,
            speaker: None,
            joined: false,
            declarations: Declarations::default(),
            declared_anew: false,
            had_nameless: false,
            state: Arc::default(),
            past: Past::default(),
            last: None,
            last_stream: None,
            known_then: None,
            counted: vec![Tick(0); ticks],
            newest: None,
            tick_before: Tick(0),
            before: None,
            held: None,
            recorded: VecDeque::new(),
            recorded_to,
        }
    }

    /// A stream begins: numbers have no meaning yet. Returns the stream's turn, by which it
    /// finds out that a newer one took over; `None` while another boot of a host, which is
    /// another host, has spoken for the node within `silence_ms`.
    pub fn begin_stream(&mut self, boot: BootId, now: UnixMs, silence_ms: i64) -> Option<u64> {
        if let Some((speaking, heard)) = self.speaker
            && speaking != boot
            // Heard later than now: the clock was set back, and nobody knows when that was.
            && (0..silence_ms).contains(&now.since(heard))
        {
            return None;
        }
        self.past.close(&self.state);
        let state = std::mem::take(&mut self.state);
        if let Some(last) = self.last.take() {
            let newest = self.newest.take().filter(|(_, tick, _)| last.tick < *tick);
            self.last_stream = newest.or(Some((last.schema, last.tick, state)));
        }
        self.declarations = Declarations::default();
        self.speaker = Some((boot, now));
        self.stream += 1;
        Some(self.stream)
    }

    /// A stream ended. Whether it was the one that speaks for the node.
    pub fn end_stream(&mut self, stream: u64) -> bool {
        let current = self.is_current(stream);
        if current {
            self.speaker = None;
        }
        current
    }

    /// Whether the stream with this turn still speaks for the node.
    pub fn is_current(&self, stream: u64) -> bool {
        self.stream == stream
    }

    /// The highest sequence of a run that is recorded.
    pub fn recorded(&self, run: Run) -> Sequence {
        let known = self.recorded.iter().find(|(known, _)| *known == run);
        known.map_or(Sequence(0), |(_, sequence)| *sequence)
    }

    /// Whether a tick is newer than all that are recorded; else it may be recorded or not.
    pub fn is_newest(&self, tick: Tick) -> bool {
        self.recorded_to < tick
    }

    /// Notes that a frame is recorded.
    pub fn record(&mut self, run: Run, frame: &PackedFrame) {
        self.held = None;
        self.recorded_to = self.recorded_to.max(frame.tick);
        match self.recorded.iter_mut().find(|(known, _)| *known == run) {
            Some((_, sequence)) => *sequence = frame.sequence.max(*sequence),
            None => {
                if self.recorded.len() == RUNS {
                    self.recorded.pop_front();
                }
                self.recorded.push_back((run, frame.sequence));
            }
        }
    }

    /// The last frame could not be recorded: keeps what it started from, unless one before it
    /// could not either. What is recorded next goes on from there.
    pub fn hold(&mut self, frame: &PackedFrame) {
        if self.held.is_none() {
            self.held = Some(self.before(frame));
        }
    }

    /// The values that the last frame, which is `frame`, started from; of frames that were not
    /// recorded, the first. `None` before the first.
    pub fn before(&self, frame: &PackedFrame) -> Option<Before> {
        if let Some(held) = &self.held {
            return held.clone().map(|held| Before { same_stream: false, ..held });
        }
        if let Some(before) = &self.before {
            return Some(before.clone());
        }
        let last = self.last.as_ref()?;
        let mut columns = CompactColumns::clone(&self.state);
        // It was unpacked a moment ago, so its bytes are well formed.
        take_back(&mut columns, &frame.columns, |_| true).ok()?;
        let schema = Arc::clone(&last.schema);
        let columns = Arc::new(columns);
        Some(Before { schema, tick: self.tick_before, columns, same_stream: true })
    }

    /// The values after the last frame.
    pub fn columns(&self) -> &CompactColumns {
        &self.state
    }

    /// Takes meanings of numbers.
    pub fn declare(&mut self, mut said: message::Declarations, vocabulary: &mut Vocabulary) {
        self.declared_anew |= !said.is_empty();
        for number in said.retired {
            self.declarations.retire(number);
        }
        for declared in &mut said.entities {
            vocabulary.share_names(&mut declared.what);
        }
        self.declarations.declare_entities(said.entities);
        for declared in &said.columns {
            self.declarations.declare_column(declared.number, vocabulary.meaning(declared));
        }
    }

    /// What was known when the last frame was recorded; `None` once a frame came live.
    pub fn known_then(&self) -> Option<&Arc<Inventory>> {
        self.known_then.as_ref()
    }

    /// Whether the last frame had a pod of that namespace.
    pub fn has_namespace(&self, namespace: &NamespaceName) -> bool {
        let pods = self.roster().map_or(&[][..], |roster| &roster.pods);
        pods.binary_search_by(|pod| pod.key.namespace.cmp(namespace)).is_ok()
    }

    /// The sums of the namespaces that the present plan adds to.
    pub fn namespaces(&self) -> &[Arc<Mutex<Sums>>] {
        self.last.as_ref().map_or(&[], |last| &last.namespaces)
    }

    /// What the numbers of the last frame mean.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.last.as_ref().map(|last| &last.schema)
    }

    /// The roster of the frame before.
    pub fn roster(&self) -> Option<&Arc<Roster>> {
        self.last.as_ref().map(|last| &last.schema.roster)
    }

    /// Its frames, as they are now.
    pub fn view(&self) -> View {
        self.past.view(&self.state)
    }

    /// Unpacks a frame onto the one before, and works out what its numbers mean. The frames so far
    /// go on with it where it `counts` and means the same.
    pub fn unpack(
        &mut self,
        frame: &PackedFrame,
        known: &Known<'_>,
        counts: bool,
    ) -> Result<Unpacked, BadFrame> {
        let other_known = match (known, &self.known_then) {
            (Known::Now { changed, .. }, None) => *changed,
            (Known::Then(known), Some(before)) => !Arc::ptr_eq(known, before),
            (Known::Now { .. }, Some(_)) | (Known::Then(_), None) => true,
        };
        let at = frame.tick.unix_ms();
        let of_then = self.roster().is_some_and(|roster| roster.valid.contains(at));
        let other_known = other_known || !of_then;
        let changed = self.declared_anew || other_known || has_layout(&frame.columns);
        if changed || !counts {
            self.past.close(&self.state);
        }
        match &self.last {
            Some(last) if !changed => {
                self.before = None;
                let earlier = last.plan.earlier(&last.schema, last.tick, &self.state);
                let (schema, plan) = (Arc::clone(&last.schema), Arc::clone(&last.plan));
                unpack(Arc::make_mut(&mut self.state), &frame.columns)?;
                Ok(Unpacked { schema, plan, new_schema: false, earlier: Some(earlier) })
            }
            _ => self.unpack_anew(frame, known),
        }
    }

    fn unpack_anew(
        &mut self,
        frame: &PackedFrame,
        known: &Known<'_>,
    ) -> Result<Unpacked, BadFrame> {
        let mut state = CompactColumns::clone(&self.state);
        unpack(&mut state, &frame.columns)?;
        self.check_declared(&state.layout)?;
        let layout = Arc::clone(&state.layout);
        let offsets = layout.index_of(ColumnNumber::READ_OFFSET).ok_or(BadFrame::ReadOffset)?;
        let before = std::mem::replace(&mut self.state, Arc::new(state));
        self.before = match &self.last {
            Some(last) => Some(Before {
                schema: Arc::clone(&last.schema),
                tick: last.tick,
                columns: before,
                same_stream: true,
            }),
            None => self
                .last_stream
                .take()
                .inspect(|former| {
                    if frame.tick < former.1 {
                        self.newest = Some(former.clone());
                    }
                })
                .map(|(schema, tick, columns)| Before {
                    schema,
                    tick,
                    columns,
                    same_stream: false,
                }),
        };
        self.declared_anew = false;
        self.declarations.shrink();
        let rows = layout.rows(offsets);
        let roster = known.roster(&self.node, rows, &self.declarations, frame.tick);
        self.known_then = match known {
            Known::Now { .. } => None,
            Known::Then(inventory) => Some(Arc::clone(inventory)),
        };
        let schema = Arc::new(Schema::new(layout, self.declarations.clone(), roster));
        self.name_past(&schema, frame.tick, known);
        let plan = Arc::new(Plan::new(&schema));
        let earlier = self.before.as_ref().map(|before| {
            plan.earlier_of(&schema, (&*before.schema, before.tick, &*before.columns))
        });
        Ok(Unpacked { schema, plan, new_schema: true, earlier })
    }

    /// Whoever had no name and now has one had it always: frames in memory are told by it, so that
    /// nobody has two series.
    fn name_past(&mut self, now: &Schema, tick: Tick, known: &Known<'_>) {
        let (had_nameless, (has_nameless, has_named)) =
            (self.had_nameless, now.declarations.has_nameless_and_named());
        self.had_nameless |= has_nameless;
        if !(had_nameless && has_named) {
            return;
        }
        let Self { node, past, .. } = self;
        let mut has_nameless = has_nameless;
        past.tell_anew(|then| {
            let Some(declarations) = then.declarations.named_as_in(&now.declarations) else {
                has_nameless |= then.declarations.has_nameless_and_named().0;
                return None;
            };
            has_nameless |= declarations.has_nameless_and_named().0;
            let layout = Arc::clone(&then.layout);
            let rows = then.read_offset.map_or(&[][..], |offsets| layout.rows(offsets));
            let roster = known.roster(node, rows, &declarations, tick);
            Some(Schema::new(Arc::clone(&layout), declarations, roster))
        });
        self.had_nameless = has_nameless;
    }

    /// Stores the frame that was just unpacked; lets go of what left the window before `oldest`.
    pub fn store(
        &mut self,
        schema: &Arc<Schema>,
        frame: &PackedFrame,
        oldest: Tick,
        arena: &Arena,
    ) {
        self.past.add(schema, (frame.tick, &frame.columns), oldest, arena);
    }

    /// Lets go of frames that left the window before `oldest`, though no new one came.
    pub fn forget(&mut self, oldest: Tick) {
        self.past.forget(oldest);
    }

    fn check_declared(&self, layout: &Layout) -> Result<(), BadFrame> {
        for column in &layout.columns {
            let known = column.number == ColumnNumber::READ_OFFSET
                || self.declarations.column(column.number).is_some();
            if !known {
                return Err(BadFrame::Column(column.number.0));
            }
        }
        let unknown = |number: &&EntityNumber| self.declarations.entity(**number).is_none();
        match layout.row_sets.iter().flat_map(|rows| rows.0.iter()).find(unknown) {
            Some(number) => Err(BadFrame::Entity(number.0)),
            None => Ok(()),
        }
    }

    /// Ends a frame: it is the one before from now on. Says what it adds where it counts.
    pub fn finish(
        &mut self,
        frame: &PackedFrame,
        unpacked: Unpacked,
        namespaces: Option<Vec<Arc<Mutex<Sums>>>>,
        (counts, now): (bool, UnixMs),
    ) -> Option<FrameSums> {
        let Unpacked { schema, plan, earlier, .. } = unpacked;
        let sums = counts.then(|| plan.sum(&schema, frame.tick, &self.state, earlier.as_ref()));
        if counts {
            self.mark(frame);
        }
        if let Some((_, heard)) = &mut self.speaker {
            *heard = now;
        }
        self.newest.take_if(|(_, newest, _)| *newest <= frame.tick);
        let last = self.last.take();
        self.tick_before = last.as_ref().map_or(Tick(0), |last| last.tick);
        let namespaces = match (namespaces, last) {
            (Some(namespaces), _) => namespaces,
            (None, Some(last)) => last.namespaces,
            (None, None) => Vec::new(),
        };
        self.last = Some(Last { schema, plan, namespaces, tick: frame.tick });
        sums
    }

    /// Whether a frame of this tick is counted already.
    pub fn is_counted(&self, tick: Tick) -> bool {
        self.counted.get(self.place(tick)) == Some(&tick)
    }

    fn mark(&mut self, frame: &PackedFrame) {
        let place = self.place(frame.tick);
        if let Some(counted) = self.counted.get_mut(place) {
            *counted = frame.tick.max(*counted);
        }
    }

    fn place(&self, tick: Tick) -> usize {
        let slots = u64::try_from(self.counted.len().max(1)).unwrap_or(1);
        let number = tick.0 / u64::from(self.resolution.seconds());
        usize::try_from(number % slots).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One boot of a host was heard at a time; whether another may speak for the node at another.
    #[track_caller]
    fn check(heard_ms: i64, now_ms: i64, expected: bool) {
        let name = NodeName::parse("node-a").unwrap();
        let mut writer = NodeWriter::new(name, Resolution::DEFAULT, 4, Tick(0));
        writer.begin_stream(BootId([1; 16]), UnixMs(heard_ms), 3_000).unwrap();
        let other = writer.begin_stream(BootId([2; 16]), UnixMs(now_ms), 3_000);
        assert_eq!(other.is_some(), expected);
    }

    #[test]
    fn another_boot_waits_for_silence() {
        check(100_000, 102_999, false);
        check(100_000, 103_000, true);
    }

    #[test]
    fn nobody_waits_for_a_clock_that_was_set_back() {
        check(7_200_000, 100_000, true);
    }
}

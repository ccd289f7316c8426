//! The frames that a node delivered, as they came over the wire: differences, about a byte a
//! sample.
//!
//! Frames that follow on each other under one schema are an era. An era is read backwards, from
//! the values after its last frame: while it goes on these are the writer's own, once it has ended
//! they are kept packed beside it. So nothing is stored twice, the oldest frames leave one chunk
//! after the other, and what was asked for most, the newest, is there at once.
//!
//! A frame never changes once it is stored; readers hold a [`View`] for as long as they like.

use std::sync::{Arc, OnceLock};

use tally_proto::{
    columns::{Columns, delta_at, pack_key, take_back, unpack},
    declaration::ColumnNumber,
    tick::Tick,
};

use crate::schema::Schema;

/// Frames in a chunk at least: a chunk leaves the window as a whole, so small ones keep few
/// frames longer than needed.
const CHUNK_FRAMES: usize = 2;

/// Chunks in a full window at most: each new one makes a new list of all.
const CHUNKS: usize = 16;

/// One frame, packed.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its tick.
    pub tick: Tick,
    /// Its differences from the frame before; nothing for the first of an era.
    bytes: Box<[u8]>,
}

/// What the frames of an era share.
#[derive(Clone, Debug)]
struct Era {
    schema: Arc<Schema>,
    /// The values after its last frame, packed as a key frame, once it has ended.
    end: OnceLock<Box<[u8]>>,
}

/// Some successive frames of one era. Only the newest chunk of a node still gets frames.
#[derive(Debug)]
struct Chunk {
    era: Arc<Era>,
    frames: Box<[OnceLock<StoredFrame>]>,
}

impl Chunk {
    fn frames(&self) -> impl Iterator<Item = &StoredFrame> {
        self.frames.iter().map_while(OnceLock::get)
    }

    fn is_since(&self, oldest: Tick) -> bool {
        self.frames().any(|frame| oldest <= frame.tick)
    }
}

/// The frames of a node, for the one that adds to them.
#[derive(Debug)]
pub struct Past {
    /// Oldest first.
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// Whether the newest chunk's era goes on.
    open: bool,
    chunk_frames: usize,
}

impl Past {
    /// No frames; room for a window of `ticks`.
    pub fn new(ticks: usize) -> Self {
        let chunk_frames = ticks.div_ceil(CHUNKS).max(CHUNK_FRAMES);
        Self { chunks: Arc::default(), open: false, chunk_frames }
    }

    /// Ends the era: the next frame does not follow on its last, after which the values were
    /// `end`.
    pub fn close(&mut self, end: &Columns) {
        if std::mem::take(&mut self.open)
            && let Some(last) = self.chunks.last()
        {
            let mut packed = Vec::new();
            pack_key(end, &mut packed);
            // It was open, so it has no end yet.
            last.era.end.set(packed.into()).ok();
        }
    }

    /// Adds a frame of the era, or the first of a new one, and lets go of chunks that ended before
    /// `oldest`.
    pub fn add(&mut self, schema: &Arc<Schema>, tick: Tick, packed: &[u8], oldest: Tick) {
        let last = self.chunks.last().filter(|_| self.open);
        let mut frame = match last {
            Some(_) => StoredFrame { tick, bytes: packed.into() },
            None => StoredFrame { tick, bytes: Box::default() },
        };
        if let Some(last) = last
            && let Some(room) = last.frames.iter().find(|frame| frame.get().is_none())
        {
            match room.set(frame) {
                Ok(()) => return self.forget_first(oldest),
                Err(refused) => frame = refused,
            }
        }
        let era = match last {
            Some(last) => Arc::clone(&last.era),
            None => Arc::new(Era { schema: Arc::clone(schema), end: OnceLock::new() }),
        };
        let frames = std::iter::once(OnceLock::from(frame))
            .chain((1..self.chunk_frames).map(|_| OnceLock::new()))
            .collect();
        let kept = self.chunks.iter().filter(|chunk| chunk.is_since(oldest)).cloned();
        self.chunks = Arc::new(kept.chain([Arc::new(Chunk { era, frames })]).collect());
        self.open = true;
    }

    /// Tells eras that have ended anew, where `anew` has another schema with the same numbers. Readers
    /// keep what they had.
    pub fn tell_anew(&mut self, mut anew: impl FnMut(&Schema) -> Option<Schema>) {
        let mut known: Option<(Arc<Era>, Option<Arc<Era>>)> = None;
        let mut told = |era: &Arc<Era>| {
            if let Some((before, now)) = &known
                && Arc::ptr_eq(before, era)
            {
                return now.clone();
            }
            let schema = era.end.get().and_then(|_| anew(&era.schema));
            let now = schema
                .map(|schema| Arc::new(Era { schema: Arc::new(schema), end: era.end.clone() }));
            known = Some((Arc::clone(era), now.clone()));
            now
        };
        let chunks = self.chunks.iter().map(|chunk| match told(&chunk.era) {
            Some(era) => Arc::new(Chunk { era, frames: chunk.frames.clone() }),
            None => Arc::clone(chunk),
        });
        self.chunks = Arc::new(chunks.collect());
    }

    /// Lets go of the oldest chunk as soon as it ended before `oldest`, not only when the next one
    /// begins: a frame of every node is a lot.
    fn forget_first(&mut self, oldest: Tick) {
        if self.chunks.first().is_some_and(|first| !first.is_since(oldest)) {
            // In place, unless somebody reads.
            Arc::make_mut(&mut self.chunks).remove(0);
        }
    }

    /// What is there now. `newest` are the values after the last frame.
    pub fn view(&self, newest: &Arc<Columns>) -> View {
        let frames = self.chunks.last().map_or(0, |last| last.frames().count());
        let newest = self.open.then(|| Arc::clone(newest));
        View { chunks: Arc::clone(&self.chunks), frames_in_last: frames, newest }
    }
}

/// All frames of a node at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    chunks: Arc<Vec<Arc<Chunk>>>,
    /// More may have come to the last chunk since.
    frames_in_last: usize,
    /// The values after the last frame, where its era goes on.
    newest: Option<Arc<Columns>>,
}

impl View {
    /// The eras in the order of their arrival.
    pub fn eras(&self) -> impl Iterator<Item = EraView<'_>> {
        let mut chunks = self.chunks.as_slice();
        std::iter::from_fn(move || {
            let first = chunks.first()?;
            let same = |chunk: &&Arc<Chunk>| Arc::ptr_eq(&chunk.era, &first.era);
            let (of_era, rest) = chunks.split_at(chunks.iter().take_while(same).count());
            chunks = rest;
            Some(self.era(first, of_era, rest.is_empty()))
        })
    }

    /// The eras, the last that came first, each with its last two frames alone: who wants the newest
    /// values does not look at the others.
    pub fn ends(&self) -> impl Iterator<Item = EraView<'_>> {
        let (mut chunks, mut shown) = (self.chunks.as_slice(), None::<&Arc<Era>>);
        std::iter::from_fn(move || {
            let is_shown = |chunk: &Arc<Chunk>| {
                shown.is_some_and(|shown: &Arc<Era>| Arc::ptr_eq(&chunk.era, shown))
            };
            let end = chunks.iter().rposition(|chunk| !is_shown(chunk))? + 1;
            let is_newest = end == self.chunks.len();
            chunks = chunks.get(..end)?;
            let last = chunks.last()?;
            shown = Some(&last.era);
            // Each chunk has a frame, so two have the last two.
            let same = |chunk: &&Arc<Chunk>| Arc::ptr_eq(&chunk.era, &last.era);
            let count = chunks.iter().rev().take(2).take_while(same).count();
            let mut era = self.era(last, chunks.get(end - count..)?, is_newest);
            era.frames.drain(..era.frames.len().saturating_sub(2));
            Some(era)
        })
    }

    fn era<'a>(&'a self, first: &'a Chunk, chunks: &'a [Arc<Chunk>], last: bool) -> EraView<'a> {
        let mut frames: Vec<&StoredFrame> = Vec::with_capacity(chunks.len() * first.frames.len());
        for (place, chunk) in (1..).zip(chunks) {
            let known =
                if last && place == chunks.len() { self.frames_in_last } else { usize::MAX };
            frames.extend(chunk.frames().take(known));
        }
        let end = match &self.newest {
            Some(newest) if last => End::Newest(newest),
            _ => End::Packed(first.era.end.get().map_or(&[], |end| end)),
        };
        EraView { schema: &first.era.schema, frames, end }
    }
}

/// One era at one moment.
#[derive(Debug)]
pub struct EraView<'a> {
    /// What its numbers mean.
    pub schema: &'a Arc<Schema>,
    /// Its frames, ascending by tick.
    pub frames: Vec<&'a StoredFrame>,
    end: End<'a>,
}

/// The values after an era's last frame.
#[derive(Clone, Copy, Debug)]
enum End<'a> {
    Newest(&'a Arc<Columns>),
    Packed(&'a [u8]),
}

impl EraView<'_> {
    /// One cell's values, in the order of the frames, from the frame at `first` on: the column at
    /// `index`, the entity at `position`. Empty when there is no such cell.
    pub fn values(&self, first: usize, index: usize, position: usize) -> Vec<i64> {
        let columns = self.schema.layout.columns.len();
        let rows = self.schema.layout.rows(index).len();
        let end = match self.end {
            End::Newest(newest) => {
                newest.values.get(index).and_then(|all| all.get(position).copied())
            }
            End::Packed(packed) => delta_at(packed, columns, index, rows, position),
        };
        let (Some(mut value), Some(frames)) = (end, self.frames.get(first..)) else {
            return Vec::new();
        };
        let mut values = Vec::with_capacity(frames.len());
        for (place, frame) in frames.iter().enumerate().rev() {
            values.push(value);
            // Stored frames were unpacked once, so their bytes are well formed.
            if place != 0
                && let Some(delta) = delta_at(&frame.bytes, columns, index, rows, position)
            {
                value = value.wrapping_sub(delta);
            }
        }
        values.reverse();
        values
    }

    /// From the values after the last frame, which `columns` has of those that are `wanted`, to
    /// the values before it.
    pub fn take_back_last(&self, columns: &mut Columns, wanted: impl Fn(ColumnNumber) -> bool) {
        if let [.., _, last] = self.frames.as_slice() {
            // Stored frames were unpacked once, so their bytes are well formed.
            take_back(columns, &last.bytes, wanted).ok();
        }
    }

    /// All values after the last frame.
    pub fn newest(&self) -> Arc<Columns> {
        match self.end {
            End::Newest(newest) => Arc::clone(newest),
            End::Packed(packed) => {
                let mut columns = Columns::default();
                // It was packed here, so it is well formed.
                unpack(&mut columns, packed).ok();
                Arc::new(columns)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tally_proto::{
        columns::{Builder, Packer, unpack},
        declaration::{ColumnNumber, EntityNumber},
    };

    use super::*;
    use crate::{declared::Declarations, roster::Roster};

    /// What comes before a frame.
    #[derive(Clone, Copy, Debug)]
    enum Before {
        Nothing,
        /// Another entity: another schema.
        Another,
        /// A frame that does not count.
        Uncounted,
    }

    fn step() -> impl Strategy<Value = (Before, i64, i64)> {
        let before = prop_oneof![
            8 => Just(Before::Nothing),
            1 => Just(Before::Another),
            1 => Just(Before::Uncounted),
        ];
        (before, any::<i64>(), -5i64..5)
    }

    fn schema(columns: &Columns) -> Arc<Schema> {
        let layout = Arc::clone(&columns.layout);
        Arc::new(Schema::new(layout, Declarations::default(), Arc::new(Roster::default())))
    }

    proptest! {
        #[test]
        fn every_view_has_the_values_that_were_stored(steps in prop::collection::vec(step(), 1..80)) {
            const WINDOW: u64 = 20;
            let (mut builder, mut packer) = (Builder::new(), Packer::new());
            let (mut state, mut packed) = (Arc::<Columns>::default(), Vec::new());
            let (mut past, mut entity, mut known) = (Past::new(20), 0, None::<Arc<Schema>>);
            let mut stored = Vec::new();
            let mut views = Vec::new();
            for (tick, (before, value, small)) in (1..).zip(steps) {
                if matches!(before, Before::Another) {
                    entity += 1;
                }
                builder.set(EntityNumber(entity), ColumnNumber::READ_OFFSET, small);
                builder.set(EntityNumber(entity), ColumnNumber(1), value);
                packed.clear();
                packer.pack(builder.finish(), &mut packed);
                let changed = known.is_none() || !matches!(before, Before::Nothing);
                if changed {
                    past.close(&state);
                }
                unpack(Arc::make_mut(&mut state), &packed).unwrap();
                if changed {
                    known = Some(schema(&state));
                }
                if matches!(before, Before::Uncounted) {
                    continue;
                }
                let oldest = Tick(u64::saturating_sub(tick, WINDOW));
                past.add(known.as_ref().unwrap(), Tick(tick), &packed, oldest);
                stored.push((Tick(tick), vec![small, value]));
                views.push((oldest, stored.len(), past.view(&state)));
            }
            for (oldest, count, view) in views {
                let mut found = Vec::new();
                let mut ends = Vec::new();
                for era in view.eras() {
                    let last_two = era.frames.len().saturating_sub(2);
                    ends.push((
                        era.frames.iter().skip(last_two).map(|frame| frame.tick).collect::<Vec<_>>(),
                        era.values(last_two, 1, 0),
                    ));
                    let columns = [era.values(0, 0, 0), era.values(0, 1, 0)];
                    let frames = era.frames.iter().enumerate();
                    found.extend(frames.map(|(place, frame)| {
                        (frame.tick, columns.iter().map(|all| all[place]).collect::<Vec<_>>())
                    }));
                    let last = found.last().unwrap().1.clone();
                    prop_assert_eq!(era.newest().values.concat(), last);
                    prop_assert_eq!(era.values(era.frames.len(), 0, 0), Vec::<i64>::new());
                }
                let newest_first = view.ends().map(|era| {
                    (era.frames.iter().map(|frame| frame.tick).collect(), era.values(0, 1, 0))
                });
                ends.reverse();
                prop_assert_eq!(newest_first.collect::<Vec<_>>(), ends);
                let expected = &stored[..count];
                prop_assert_eq!(&found, &expected[count - found.len()..]);
                let in_window = expected.iter().filter(|(tick, _)| oldest <= *tick).count();
                prop_assert!((in_window..in_window + 2 * CHUNK_FRAMES).contains(&found.len()));
            }
        }
    }
}

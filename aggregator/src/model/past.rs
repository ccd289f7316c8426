//! The frames that a node delivered, as they came over the wire: differences, about a byte a
//! sample.
//!
//! Frames that follow on each other under one schema are an era. An era is read backwards, from
//! the values after its last frame: while it goes on these are the writer's own, once it has ended
//! they are kept packed beside it. So nothing is stored twice, the oldest frames leave one after the
//! other, and what was asked for most, the newest, is there at once.
//!
//! A frame never changes once it is stored; readers hold a [`View`] for as long as they like.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use tally_proto::{
    columns::{ColumnValues, Columns, CompactColumns, delta_at, pack_key, take_back, unpack},
    declaration::ColumnNumber,
    tick::Tick,
};

use super::arena::Arena;
use crate::schema::Schema;

/// One frame, packed.
#[derive(Clone, Debug)]
pub struct StoredFrame {
    /// Its tick.
    pub tick: Tick,
    /// Its differences from the frame before; nothing for the first of an era.
    bytes: Bytes,
    era: Arc<Era>,
}

impl StoredFrame {
    fn is_of_era(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.era, &other.era)
    }
}

/// What successive frames share.
#[derive(Clone, Debug)]
struct Era {
    schema: Arc<Schema>,
    /// The values after its last frame, packed as a key frame, once it has ended.
    end: OnceLock<Box<[u8]>>,
}

/// The frames of a node, for the one that adds to them.
#[derive(Debug, Default)]
pub struct Past {
    /// In the order of their arrival.
    frames: Arc<VecDeque<StoredFrame>>,
    /// Whether the era of the last frame goes on.
    open: bool,
}

impl Past {
    /// Ends the era: the next frame does not follow on its last, after which the values were
    /// `end`.
    pub fn close(&mut self, end: &CompactColumns) {
        if std::mem::take(&mut self.open)
            && let Some(last) = self.frames.back()
        {
            let mut packed = Vec::new();
            pack_key(&Columns::from(end), &mut packed);
            // It was open, so it has no end yet.
            last.era.end.set(packed.into()).ok();
        }
    }

    /// Adds a frame of the era, or the first of a new one, and lets go of frames before `oldest`.
    pub fn add(
        &mut self,
        schema: &Arc<Schema>,
        (tick, packed): (Tick, &[u8]),
        oldest: Tick,
        arena: &Arena,
    ) {
        let era = self.frames.back().filter(|_| self.open).map(|last| Arc::clone(&last.era));
        let frame = match era {
            Some(era) => StoredFrame { tick, bytes: arena.keep(packed), era },
            None => {
                // An outage brings frames out of turn, so not all that are old are the first.
                self.own().retain(|frame| oldest <= frame.tick);
                let era = Arc::new(Era { schema: Arc::clone(schema), end: OnceLock::new() });
                StoredFrame { tick, bytes: Bytes::new(), era }
            }
        };
        let frames = self.own();
        while frames.pop_front_if(|first| first.tick < oldest).is_some() {}
        frames.push_back(frame);
        self.open = true;
    }

    /// Lets go of frames before `oldest`, of a node that no longer adds any.
    pub fn forget(&mut self, oldest: Tick) {
        if self.frames.iter().any(|frame| frame.tick < oldest) {
            self.own().retain(|frame| oldest <= frame.tick);
        }
    }

    /// Tells eras that have ended anew, where `anew` has another schema with the same numbers. Readers
    /// keep what they had.
    pub fn tell_anew(&mut self, mut anew: impl FnMut(&Schema) -> Option<Schema>) {
        let mut known: Option<(Arc<Era>, Option<Arc<Era>>)> = None;
        for frame in self.own() {
            let now = match &known {
                Some((before, now)) if Arc::ptr_eq(before, &frame.era) => now.clone(),
                _ => {
                    let era = &frame.era;
                    let schema = era.end.get().and_then(|_| anew(&era.schema)).map(Arc::new);
                    let now = schema.map(|schema| Arc::new(Era { schema, end: era.end.clone() }));
                    known = Some((Arc::clone(era), now.clone()));
                    now
                }
            };
            if let Some(now) = now {
                frame.era = now;
            }
        }
    }

    /// The frames, to be changed. Readers keep what they have: then this is a copy, of the same
    /// size.
    fn own(&mut self) -> &mut VecDeque<StoredFrame> {
        if Arc::get_mut(&mut self.frames).is_none() {
            let mut own = VecDeque::with_capacity(self.frames.capacity());
            own.extend(self.frames.iter().cloned());
            self.frames = Arc::new(own);
        }
        Arc::make_mut(&mut self.frames)
    }

    /// What is there now. `newest` are the values after the last frame.
    pub fn view(&self, newest: &Arc<CompactColumns>) -> View {
        let newest = self.open.then(|| Arc::clone(newest));
        View { frames: Arc::clone(&self.frames), newest }
    }
}

/// All frames of a node at one moment.
#[derive(Clone, Debug, Default)]
pub struct View {
    frames: Arc<VecDeque<StoredFrame>>,
    /// The values after the last frame, where its era goes on.
    newest: Option<Arc<CompactColumns>>,
}

impl View {
    /// The eras in the order of their arrival.
    pub fn eras(&self) -> impl Iterator<Item = EraView<'_>> {
        let mut left = self.frames.iter().peekable();
        std::iter::from_fn(move || {
            let first = left.next()?;
            let mut frames = vec![first];
            while let Some(next) = left.next_if(|next| first.is_of_era(next)) {
                frames.push(next);
            }
            Some(self.era(&first.era, frames, left.peek().is_none()))
        })
    }

    /// The eras, the last that came first, each with its last two frames alone: who wants the newest
    /// values does not look at the others.
    pub fn ends(&self) -> impl Iterator<Item = EraView<'_>> {
        let (mut left, mut shown) = (self.frames.iter().rev().peekable(), None::<&StoredFrame>);
        std::iter::from_fn(move || {
            while left.next_if(|frame| shown.is_some_and(|shown| shown.is_of_era(frame))).is_some()
            {
            }
            let last = left.next()?;
            let before = left.next_if(|frame| last.is_of_era(frame));
            let frames = before.into_iter().chain([last]).collect();
            let is_newest = shown.replace(last).is_none();
            Some(self.era(&last.era, frames, is_newest))
        })
    }

    fn era<'a>(
        &'a self,
        era: &'a Era,
        frames: Vec<&'a StoredFrame>,
        is_newest: bool,
    ) -> EraView<'a> {
        let end = match &self.newest {
            Some(newest) if is_newest => End::Newest(newest),
            _ => End::Packed(era.end.get().map_or(&[], |end| end)),
        };
        EraView { schema: &era.schema, frames, end }
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
    Newest(&'a Arc<CompactColumns>),
    Packed(&'a [u8]),
}

impl EraView<'_> {
    /// One cell's values, in the order of the frames, from the frame at `first` on: the column at
    /// `index`, the entity at `position`. Empty when there is no such cell.
    pub fn values(&self, first: usize, index: usize, position: usize) -> Vec<i64> {
        let columns = self.schema.layout.columns.len();
        let rows = self.schema.layout.rows(index).len();
        let end = match self.end {
            End::Newest(newest) => newest.values.get(index).and_then(|values| values.at(position)),
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
    pub fn take_back_last(
        &self,
        columns: &mut CompactColumns,
        wanted: impl Fn(ColumnNumber) -> bool,
    ) {
        if let [.., _, last] = self.frames.as_slice() {
            // Stored frames were unpacked once, so their bytes are well formed.
            take_back(columns, &last.bytes, wanted).ok();
        }
    }

    /// All values after the last frame.
    pub fn newest(&self) -> Arc<CompactColumns> {
        match self.end {
            End::Newest(newest) => Arc::clone(newest),
            End::Packed(packed) => {
                let mut columns = CompactColumns::default();
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

    fn schema(columns: &CompactColumns) -> Arc<Schema> {
        let layout = Arc::clone(&columns.layout);
        Arc::new(Schema::new(layout, Declarations::default(), Arc::new(Roster::default())))
    }

    proptest! {
        #[test]
        fn every_view_has_the_values_that_were_stored(steps in prop::collection::vec(step(), 1..80)) {
            const WINDOW: u64 = 20;
            let (mut builder, mut packer) = (Builder::new(), Packer::new());
            let (mut state, mut packed) = (Arc::<CompactColumns>::default(), Vec::new());
            let (mut past, mut entity, mut known) = (Past::default(), 0, None::<Arc<Schema>>);
            let arena = Arena::default();
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
                past.add(known.as_ref().unwrap(), (Tick(tick), &packed), oldest, &arena);
                stored.push((Tick(tick), vec![small, value]));
                views.push((oldest, stored.len(), past.view(&state)));
            }
            // As after a silence in which the window went on.
            let oldest = views.last().map_or(Tick(0), |(oldest, ..)| *oldest);
            let later = Tick(oldest.0 + WINDOW / 2);
            past.forget(later);
            views.push((later, stored.len(), past.view(&state)));
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
                    prop_assert_eq!(Columns::from(&*era.newest()).values.concat(), last);
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
                prop_assert_eq!(found.len(), in_window);
            }
        }
    }
}

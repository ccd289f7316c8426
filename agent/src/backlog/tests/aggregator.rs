//! An aggregator in memory, by the rules of the real one: sequences and ticks ascend on a stream,
//! and what is not after the highest sequence of its run is a frame that was counted before.

use std::collections::{BTreeMap, HashMap};

use tally_proto::{
    columns::{Columns, unpack},
    declaration::{ColumnNumber, EntityNumber},
    message::{Hello, Run, Sequence},
    tick::{Tick, UnixMs},
};

use crate::{backlog::Refusal, outbox::Outgoing};

/// A frame as everyone must understand it: values by the lives of their entities.
pub(super) type Meant = BTreeMap<(u32, Option<UnixMs>), i64>;

/// The only column of the tests.
pub(super) const COLUMN: ColumnNumber = ColumnNumber(1);

#[derive(Debug, Default)]
pub(super) struct Aggregator {
    pub(super) counted: BTreeMap<(u64, u64), (Tick, Meant)>,
    highest: HashMap<u64, u64>,
    /// A frame that it does not accept.
    pub(super) refuses: Option<(Run, u64)>,
    /// What comes after this tick has not come by its clock.
    pub(super) now: Option<Tick>,
}

/// What it knows of an open stream.
#[derive(Debug)]
pub(super) struct Stream {
    run: Run,
    lives: BTreeMap<EntityNumber, Option<UnixMs>>,
    has_column: bool,
    state: Columns,
    last: Option<(Sequence, Tick)>,
}

impl Aggregator {
    pub(super) fn welcome(&self, hello: &Hello) -> (Stream, Sequence) {
        let stream = Stream {
            run: hello.run,
            lives: BTreeMap::new(),
            has_column: false,
            state: Columns::default(),
            last: None,
        };
        (stream, Sequence(self.highest.get(&hello.run.0).copied().unwrap_or(0)))
    }

    /// It restarts, and knows only what it has counted.
    pub(super) fn forget(&mut self) {
        self.highest.clear();
    }

    /// Takes a frame, or says why not.
    pub(super) fn take(&mut self, stream: &mut Stream, outgoing: Outgoing) -> Result<(), Refusal> {
        let Outgoing { declarations, frame, .. } = outgoing;
        let anew = |number| declarations.entities.iter().any(|entity| entity.number == number);
        assert!(!declarations.retired.iter().copied().any(anew), "the order is not left open");
        for number in declarations.retired {
            stream.lives.remove(&number);
        }
        for entity in declarations.entities {
            stream.lives.insert(entity.number, entity.start);
        }
        stream.has_column |= declarations.columns.iter().any(|column| column.number == COLUMN);
        if let Some((sequence, tick)) = stream.last {
            assert!(sequence < frame.sequence && tick < frame.tick, "time goes back");
        }
        stream.last = Some((frame.sequence, frame.tick));
        if self.refuses == Some((stream.run, frame.sequence.0)) {
            return Err(Refusal::Content);
        }
        if self.now.is_some_and(|now| now < frame.tick) {
            return Err(Refusal::Time);
        }
        unpack(&mut stream.state, &frame.columns).unwrap();
        let meant = stream.meant();
        let highest = self.highest.entry(stream.run.0).or_default();
        let name = (stream.run.0, frame.sequence.0);
        if let Some(before) = self.counted.get(&name) {
            assert_eq!(*before, (frame.tick, meant), "one name, two frames");
        } else if *highest < frame.sequence.0 {
            self.counted.insert(name, (frame.tick, meant));
        }
        *highest = frame.sequence.0.max(*highest);
        Ok(())
    }

    pub(super) fn last_of(stream: &Stream) -> Option<Sequence> {
        stream.last.map(|(sequence, _)| sequence)
    }
}

impl Stream {
    fn meant(&self) -> Meant {
        let index = self.state.layout.index_of(COLUMN);
        let Some(index) = index else { return Meant::new() };
        assert!(self.has_column, "the column was not declared");
        let rows = self.state.layout.rows(index).iter().zip(&self.state.values[index]);
        rows.map(|(entity, value)| ((entity.0, self.lives[entity]), *value)).collect()
    }
}

//! The way from the sampling thread to the uplink: a short queue that never makes the sender wait.
//!
//! The uplink empties it at once, whatever the network does, so it is only full when the process
//! gets no CPU time. Then the oldest reading that did not fit is dropped and counted; its
//! declarations stay and go with the next one. The buffers of readings come back and are used
//! again.

use std::sync::Arc;

use tally_proto::{columns::Columns, message::Declarations, tick::Tick};
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::{counters::Counters, meanings::Meanings};

/// Readings in the queue: one that is taken in and one more.
const QUEUE: usize = 2;

/// What was read at one tick.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// The tick.
    pub tick: Tick,
    /// Numbers with a new meaning from this frame on.
    pub declarations: Declarations,
    /// The values.
    pub columns: Columns,
}

/// Nobody takes readings any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the uplink has ended")]
pub struct UplinkEnded;

/// The sampling thread's end.
#[derive(Debug)]
pub struct Giver {
    readings: mpsc::Sender<Reading>,
    used: mpsc::Receiver<Columns>,
    /// The reading that did not fit.
    waiting: Option<Reading>,
    counters: Arc<Counters>,
}

/// The uplink's end.
#[derive(Debug)]
pub struct Taker {
    readings: mpsc::Receiver<Reading>,
    used: mpsc::Sender<Columns>,
}

/// Both ends.
pub fn handover(counters: Arc<Counters>) -> (Giver, Taker) {
    let (give_readings, take_readings) = mpsc::channel(QUEUE);
    // Each reading of the queue has a buffer, and so has the one that waits.
    let (give_used, take_used) = mpsc::channel(QUEUE + 1);
    (
        Giver { readings: give_readings, used: take_used, waiting: None, counters },
        Taker { readings: take_readings, used: give_used },
    )
}

impl Giver {
    /// Hands one reading over. Never waits.
    pub fn give(
        &mut self,
        tick: Tick,
        declarations: Declarations,
        columns: &Columns,
    ) -> Result<(), UplinkEnded> {
        let mut reading = self.spare_reading()?;
        reading.tick = tick;
        reading.declarations = joined(reading.declarations, declarations);
        copy(columns, &mut reading.columns);
        self.try_give(reading)
    }

    /// Hands over what did not fit yet, because no more will follow.
    pub fn finish(mut self) -> Result<(), UplinkEnded> {
        if let Some(late) = self.waiting.take() {
            self.try_give(late)?;
        }
        if let Some(dropped) = &self.waiting {
            self.count_dropped(dropped);
        }
        Ok(())
    }

    fn count_dropped(&self, dropped: &Reading) {
        let samples: usize = dropped.columns.values.iter().map(Vec::len).sum();
        self.counters.frames_dropped.add(1);
        self.counters.samples_dropped.add(u64::try_from(samples).unwrap_or(u64::MAX));
    }

    #[cfg(test)]
    pub(crate) fn is_taken(&self) -> bool {
        self.waiting.is_none() && self.readings.capacity() == QUEUE
    }

    /// A buffer that is free. If a reading still does not fit, it gives way: its declarations are
    /// in it.
    fn spare_reading(&mut self) -> Result<Reading, UplinkEnded> {
        if let Some(late) = self.waiting.take() {
            self.try_give(late)?;
        }
        Ok(match self.waiting.take() {
            Some(dropped) => {
                self.count_dropped(&dropped);
                dropped
            }
            None => {
                Reading { columns: self.used.try_recv().unwrap_or_default(), ..Reading::default() }
            }
        })
    }

    fn try_give(&mut self, reading: Reading) -> Result<(), UplinkEnded> {
        match self.readings.try_send(reading) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(late)) => {
                self.waiting = Some(late);
                Ok(())
            }
            Err(TrySendError::Closed(_)) => Err(UplinkEnded),
        }
    }
}

impl Taker {
    /// The next reading; `None` after the last one.
    pub async fn take(&mut self) -> Option<Reading> {
        self.readings.recv().await
    }

    /// Gives a buffer back. Without a place for it, it is freed.
    pub fn give_back(&self, columns: Columns) {
        // The giver may have ended, and then needs no buffer.
        drop(self.used.try_send(columns));
    }
}

fn joined(earlier: Declarations, later: Declarations) -> Declarations {
    if earlier.is_empty() {
        return later;
    }
    let mut meanings = Meanings::default();
    meanings.apply(earlier);
    meanings.apply(later);
    meanings.into_declarations()
}

/// Copies without giving up the target's memory.
fn copy(from: &Columns, to: &mut Columns) {
    to.layout = Arc::clone(&from.layout);
    to.values.clone_from(&from.values);
}

#[cfg(test)]
mod tests {
    use tally_proto::{
        columns::Builder,
        declaration::{ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    };

    use super::*;

    fn value(value: i64) -> Columns {
        let mut builder = Builder::new();
        builder.set(EntityNumber(0), ColumnNumber(0), value);
        builder.finish().clone()
    }

    fn declares(number: u32) -> Declarations {
        let entity =
            EntityDeclaration { number: EntityNumber(number), start: None, what: Declared::Node };
        Declarations { entities: vec![entity], ..Default::default() }
    }

    fn taken(taker: &mut Taker) -> Vec<(u64, Vec<u32>)> {
        std::iter::from_fn(|| taker.readings.try_recv().ok())
            .map(|reading| {
                let declared = &reading.declarations.entities;
                assert_eq!(reading.columns, value(i64::try_from(reading.tick.0).unwrap()));
                (reading.tick.0, declared.iter().map(|entity| entity.number.0).collect())
            })
            .collect()
    }

    fn give(giver: &mut Giver, tick: u32) {
        giver.give(Tick(u64::from(tick)), declares(tick), &value(i64::from(tick))).unwrap();
    }

    #[test]
    fn when_full_the_oldest_that_did_not_fit_is_dropped_but_not_its_declarations() {
        let counters = Arc::new(Counters::default());
        let (mut giver, mut taker) = handover(Arc::clone(&counters));
        for tick in 1..=5 {
            give(&mut giver, tick);
        }
        assert_eq!(counters.frames_dropped.get(), 2);
        assert_eq!(taken(&mut taker), [(1, vec![1]), (2, vec![2])]);
        give(&mut giver, 6);
        assert_eq!(taken(&mut taker), [(5, vec![3, 4, 5]), (6, vec![6])]);
        assert_eq!(counters.frames_dropped.get(), 2);
    }

    #[test]
    fn the_last_reading_that_did_not_fit_goes_at_the_end_or_is_counted() {
        let counters = Arc::new(Counters::default());
        for room in [true, false] {
            let (mut giver, mut taker) = handover(Arc::clone(&counters));
            for tick in 1..=3 {
                give(&mut giver, tick);
            }
            let mut all = if room { taken(&mut taker) } else { Vec::new() };
            giver.finish().unwrap();
            all.extend(taken(&mut taker));
            assert_eq!(all.len(), if room { 3 } else { 2 });
        }
        assert_eq!(counters.frames_dropped.get(), 1);
    }

    #[test]
    fn buffers_come_back() {
        let (mut giver, taker) = handover(Arc::default());
        let used = value(7);
        let memory = used.values[0].as_ptr();
        taker.give_back(used);
        give(&mut giver, 1);
        let mut taker = taker;
        let reading = taker.readings.try_recv().unwrap();
        assert_eq!(reading.columns.values[0].as_ptr(), memory);
    }

    #[test]
    fn without_an_uplink_the_sampling_ends() {
        let (mut giver, taker) = handover(Arc::default());
        drop(taker);
        assert_eq!(giver.give(Tick(1), declares(1), &value(1)), Err(UplinkEnded));
    }
}

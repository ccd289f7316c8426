//! What history has already of the time that a segment is of.

use tally_proto::tick::Tick;

use crate::{
    history::{
        error::{Budget, HistoryError},
        life::Who,
        question::Seen,
        selection::Selection,
        series::Row,
        store::Store,
    },
    telemetry::chain,
};

/// What is done where history can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// The segment waits until it can.
    Waits,
    /// It was waited for long enough: what can't be read is taken for nothing, so that it does not
    /// hold up all that follows.
    GivesUp,
}

/// History as it was before a segment.
#[derive(Debug)]
pub(super) struct Kept {
    store: Store,
    patience: Patience,
    /// Reads that failed and were taken for nothing.
    pub(super) given_up: u64,
}

impl Kept {
    /// What `store` has of the writes before `number`.
    pub(super) fn before(store: &Store, number: u64, patience: Patience) -> Self {
        Self { store: store.as_of(number), patience, given_up: 0 }
    }

    /// Whether it has any value of somebody for a tick.
    pub(super) fn has_tick(&mut self, who: &Who, tick: Tick) -> Result<bool, HistoryError> {
        let read = self.store.has_tick(who, tick);
        self.or_nothing(read)
    }

    /// Who of a selection has values in a range.
    pub(super) fn lives(
        &mut self,
        of: &Selection,
        first: Tick,
        last: Tick,
    ) -> Result<Vec<Seen>, HistoryError> {
        let read = self.store.lives(of, first, last, &mut Budget::unlimited());
        self.or_nothing(read)
    }

    /// The rows of a selection in a range.
    pub(super) fn rows(
        &mut self,
        of: &Selection,
        first: Tick,
        last: Tick,
    ) -> Result<Vec<Row>, HistoryError> {
        let read = self.store.rows(of, first, last, &mut Budget::unlimited());
        self.or_nothing(read)
    }

    /// The newest tick that it has.
    pub(super) fn newest_tick(&mut self) -> Result<Option<Tick>, HistoryError> {
        let read = self.store.newest_tick();
        self.or_nothing(read)
    }

    fn or_nothing<T: Default>(&mut self, read: Result<T, HistoryError>) -> Result<T, HistoryError> {
        match read {
            Err(error) if self.patience == Patience::GivesUp => {
                if self.given_up == 0 {
                    tracing::warn!(error = chain(&error), "a read of history is given up");
                }
                self.given_up += 1;
                Ok(T::default())
            }
            read => read,
        }
    }
}

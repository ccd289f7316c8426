//! Whether there is a history, and whether it can be asked yet.

use std::sync::Arc;

use arc_swap::ArcSwapOption;

use super::PastQueries;

/// What REST holds of history. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Past(Option<Arc<ArcSwapOption<PastQueries>>>);

/// What can be said of history now.
#[derive(Clone, Debug)]
pub enum PastState {
    /// There is none.
    Off,
    /// It is being read back after a start.
    Opening,
    /// It answers.
    Open(Arc<PastQueries>),
}

impl Past {
    /// No history, ever.
    pub fn off() -> Self {
        Self(None)
    }

    /// A history that answers once it is [opened](Self::open).
    pub fn opening() -> Self {
        Self(Some(Arc::default()))
    }

    /// From now on `queries` answer; nothing changes where history is off.
    pub fn open(&self, queries: PastQueries) {
        if let Some(door) = &self.0 {
            door.store(Some(Arc::new(queries)));
        }
    }

    /// How it is now.
    pub fn state(&self) -> PastState {
        match &self.0 {
            None => PastState::Off,
            Some(door) => door.load_full().map_or(PastState::Opening, PastState::Open),
        }
    }
}

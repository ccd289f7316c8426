//! Somebody wants the comparison to end: it fails at its next step, and what it has made goes with it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use anyhow::ensure;

/// Whether to end; all copies are one.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// From now on every [`Stop::check`] fails.
    pub fn now(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Fails if it is to end.
    pub fn check(&self) -> anyhow::Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}

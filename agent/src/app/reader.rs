//! The reading half as the sampling thread uses it: says once what it cannot read, and reports
//! what the sending half counted.

use std::sync::Arc;

use tally_proto::{columns::Builder, message::Declarations, tick::Tick};
use tracing::warn;

use crate::{counters::Counters, sampler::Sampler};

/// Reads the host.
pub(super) struct Reader {
    sampler: Sampler,
    counters: Arc<Counters>,
    /// How many kinds of faults were logged.
    faults_said: usize,
}

impl Reader {
    pub(super) fn new(sampler: Sampler, counters: Arc<Counters>) -> Self {
        Self { sampler, counters, faults_said: 0 }
    }

    /// `since_us` tells the microseconds since the tick.
    pub(super) fn read(
        &mut self,
        tick: Tick,
        mut since_us: impl FnMut() -> i64,
        frame: &mut Builder,
    ) -> Declarations {
        self.sampler.set_frames_dropped(self.counters.frames_dropped.get());
        let said = self.sampler.read(tick, &mut since_us, frame);
        for fault in self.sampler.unreadable().iter().skip(self.faults_said) {
            warn!(
                path = fault.path,
                reason = fault.reason,
                "cannot read; left out of what is measured"
            );
        }
        self.faults_said = self.sampler.unreadable().len();
        said
    }
}

//! The reading half as the sampling thread uses it: says once what it cannot read, and reports
//! what the sending half counted.

use std::sync::Arc;

use tally_proto::{columns::Builder, message::Declarations, tick::Tick};
use tracing::warn;

use crate::{
    counters::Counters,
    own_cost::{Delivery, SpoolState},
    sampler::Sampler,
};

/// Reads the host.
pub(super) struct Reader {
    sampler: Sampler,
    counters: Arc<Counters>,
    has_spool: bool,
    /// How many kinds of faults were logged.
    faults_said: usize,
}

impl Reader {
    pub(super) fn new(sampler: Sampler, counters: Arc<Counters>, has_spool: bool) -> Self {
        Self { sampler, counters, has_spool, faults_said: 0 }
    }

    /// `since_us` tells the microseconds since the tick.
    pub(super) fn read(
        &mut self,
        tick: Tick,
        mut since_us: impl FnMut() -> i64,
        frame: &mut Builder,
    ) -> Declarations {
        self.sampler.set_delivery(self.delivery());
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

    fn delivery(&self) -> Delivery {
        let Counters { frames_dropped, samples_dropped, spool_bytes, spool_faults, .. } =
            &*self.counters;
        let spool = SpoolState { bytes: spool_bytes.get(), faults: spool_faults.get() };
        Delivery {
            frames_dropped: frames_dropped.get(),
            samples_dropped: samples_dropped.get(),
            spool: self.has_spool.then_some(spool),
        }
    }
}

//! Whether one watch works: said once when that changes, and counted.

use std::{
    error::Error,
    sync::atomic::{AtomicBool, Ordering},
};

use http::StatusCode;

use crate::{
    self_metrics::{Kubernetes, WatchedKind},
    telemetry::chain,
};

/// How one watch is.
#[derive(Debug)]
pub(super) struct Health {
    kind: WatchedKind,
    metrics: Kubernetes,
    has_failed: AtomicBool,
    /// Whether there was an answer since this was last asked.
    was_answered: AtomicBool,
}

impl Health {
    /// Of a watch that the API server has not answered yet.
    pub(super) fn new(kind: &'static str, metrics: Kubernetes) -> Self {
        let kind = WatchedKind { kind };
        metrics.watch_ok.get_or_create(&kind).set(0);
        let (has_failed, was_answered) = Default::default();
        Self { kind, metrics, has_failed, was_answered }
    }

    /// The API server answered.
    pub(super) fn answered(&self, status: StatusCode) {
        if !status.is_success() {
            return;
        }
        self.metrics.watch_ok.get_or_create(&self.kind).set(1);
        self.was_answered.store(true, Ordering::Relaxed);
        if self.has_failed.swap(false, Ordering::Relaxed) {
            tracing::info!(kind = self.kind.kind, "the API server is watched again");
        }
    }

    /// Whether the API server answered since this was last asked.
    pub(super) fn take_answered(&self) -> bool {
        self.was_answered.swap(false, Ordering::Relaxed)
    }

    /// The watch broke off, or could not begin.
    pub(super) fn failed(&self, error: &dyn Error) {
        self.metrics.watch_ok.get_or_create(&self.kind).set(0);
        self.metrics.watch_faults.get_or_create(&self.kind).inc();
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                kind = self.kind.kind,
                error = chain(error),
                "the API server can't be watched: what it said last stands, and it is asked again"
            );
        }
    }
}

//! The server's own metrics: what it took, refused, holds and answered.
//!
//! One place for the names, so that a dashboard can be written from this file. Counters are single
//! atomics, and cloning one is cloning a pointer to it; families (those with labels) take a lock
//! and are for what is rare or slow anyway: refusals and HTTP requests.

pub mod secure;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

use self::secure::Secure;

/// Why something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Refusal {
    /// A word or two in snake case, such as `bad_columns`: few distinct ones.
    pub reason: &'static str,
}

/// What an HTTP request was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The route's pattern, never the path itself: paths are without number.
    pub route: &'static str,
    /// The answer's status.
    pub code: u16,
}

/// Which HTTP route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestRoute {
    /// The route's pattern.
    pub route: &'static str,
}

/// Which tier of history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ArchiveTier {
    /// `raw`, `5m`, `1h`, or `journal` for what is not in columns yet.
    pub tier: &'static str,
}

/// What history holds and does. Nothing is counted without one.
#[derive(Clone, Debug, Default)]
pub struct ArchiveMetrics {
    /// Files of each tier.
    pub files: Family<ArchiveTier, Gauge>,
    /// Their bytes.
    pub bytes: Family<ArchiveTier, Gauge>,
    /// The first second of the oldest day that is held.
    pub oldest: Gauge,
    /// Whether the disk takes what is written to it: 0 while it is full or fails.
    pub disk_ok: Gauge,
    /// Writes that the disk refused.
    pub disk_faults: Counter,
    /// Values that became columns of history.
    pub samples_sealed: Counter,
    /// Series that history left out.
    pub series_left_out: Counter,
    /// Frames that history had before when they came in late.
    pub frames_known: Counter,
    /// Segments of the journal that wait to become columns.
    pub segments_waiting: Gauge,
    /// Segments that could not be read for long, and that nobody reads any more.
    pub segments_set_aside: Counter,
    /// Reads of history that failed for long, and were taken for nothing.
    pub reads_given_up: Counter,
    /// Files that were merged into others.
    pub files_merged: Counter,
    /// Bytes that were dropped, because they were too old or too many.
    pub bytes_dropped: Counter,
}

impl ArchiveMetrics {
    fn register(&self, all: &mut Registry) {
        let all = all.sub_registry_with_prefix("history");
        all.register("files", "Files of history, by tier", self.files.clone());
        all.register("size_bytes", "Bytes of history on disk, by tier", self.bytes.clone());
        all.register(
            "oldest_timestamp_seconds",
            "The first second of the oldest day that history holds",
            self.oldest.clone(),
        );
        all.register(
            "disk_ok",
            "1 while the disk takes what is written; 0 while it is full or fails, and agents keep \
             their frames",
            self.disk_ok.clone(),
        );
        all.register("disk_faults", "Writes that the disk refused", self.disk_faults.clone());
        all.register(
            "samples_sealed",
            "Values that became columns of history",
            self.samples_sealed.clone(),
        );
        all.register(
            "series_left_out",
            "Series of an entity that history has no room for, as it has more than 65,536 in one \
             file, or more than 1,000 sets of stored labels",
            self.series_left_out.clone(),
        );
        all.register(
            "frames_known",
            "Late frames that history had before, and that were not counted again",
            self.frames_known.clone(),
        );
        all.register(
            "segments_waiting",
            "Segments of the journal that wait to become columns",
            self.segments_waiting.clone(),
        );
        all.register(
            "segments_set_aside",
            "Segments of the journal that could not be read for minutes: their files are kept under \
             another name, and what they hold is in no answer",
            self.segments_set_aside.clone(),
        );
        all.register(
            "reads_given_up",
            "Reads of history that failed for minutes while a segment waited for them, and were \
             taken for nothing: sums of that time may lack late values",
            self.reads_given_up.clone(),
        );
        all.register(
            "files_merged",
            "Files that were merged into others",
            self.files_merged.clone(),
        );
        all.register(
            "dropped_bytes",
            "Bytes of history that were dropped, because they were too old or too many",
            self.bytes_dropped.clone(),
        );
    }
}

/// What of the API server is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct WatchedKind {
    /// `node`, `namespace` or `pod`.
    pub kind: &'static str,
}

/// What the API server says. Nothing is counted without one.
#[derive(Clone, Debug, Default)]
pub struct Kubernetes {
    /// Whether the API server answered last when it was asked.
    pub watch_ok: Family<WatchedKind, Gauge>,
    /// How often a watch broke off or could not begin.
    pub watch_faults: Family<WatchedKind, Counter>,
    /// Lists that were complete: the first, and one after each time that a watch had expired.
    pub lists: Family<WatchedKind, Counter>,
    /// What was said.
    pub events: Family<WatchedKind, Counter>,
    /// Objects that are known.
    pub objects: Family<WatchedKind, Gauge>,
    /// Objects that were not understood, and left as they were.
    pub objects_refused: Family<WatchedKind, Counter>,
}

impl Kubernetes {
    /// Whether any watch had no answer when it was last asked for one.
    pub fn is_away(&self) -> bool {
        ["namespace", "node", "pod"].iter().any(|kind| {
            let ok = self.watch_ok.get(&WatchedKind { kind });
            ok.is_some_and(|ok| ok.get() == 0)
        })
    }

    fn register(&self, all: &mut Registry) {
        let all = all.sub_registry_with_prefix("kubernetes");
        all.register(
            "watch_ok",
            "1 while the API server answers; 0 while it is away, and what it said last stands",
            self.watch_ok.clone(),
        );
        all.register(
            "watch_faults",
            "Times that a watch of the API server broke off or could not begin",
            self.watch_faults.clone(),
        );
        all.register(
            "lists",
            "Complete lists: the first, and one for each time that a watch had expired",
            self.lists.clone(),
        );
        all.register("events", "What the API server said", self.events.clone());
        all.register("objects", "Objects of the API server that are known", self.objects.clone());
        all.register(
            "objects_refused",
            "Objects of the API server that were not understood",
            self.objects_refused.clone(),
        );
    }
}

/// What is asked of history.
#[derive(Clone, Debug, Default)]
pub struct HistoryCounts {
    /// Questions whose parameters were good.
    pub questions: Counter,
    /// Questions without an answer: too much or too long, too many at once, not ready, a fault.
    pub refused: Family<Refusal, Counter>,
}

/// Everything the server counts about itself.
#[derive(Clone, Debug)]
pub struct SelfMetrics {
    /// Frames taken, late ones included.
    pub frames_received: Counter,
    /// Of these, frames of a tick that was already closed.
    pub frames_late: Counter,
    /// Frames that were counted before and therefore skipped.
    pub frames_duplicate: Counter,
    /// Frames that count and could not be recorded for want of room on the disk: their agents
    /// keep them.
    pub frames_unrecorded: Counter,
    /// Frames that broke the format or a limit.
    pub frames_refused: Family<Refusal, Counter>,
    /// Values in the frames taken.
    pub samples_received: Counter,
    /// Bytes of packed columns in the frames taken.
    pub bytes_received: Counter,
    /// Streams that are open now.
    pub streams_open: Gauge,
    /// Streams that were refused or ended for what they said.
    pub streams_refused: Family<Refusal, Counter>,
    /// Entities in the live model.
    pub entities: Gauge,
    /// What history holds and does.
    pub archive: ArchiveMetrics,
    /// Ticks closed for namespaces and the cluster.
    pub ticks_closed: Counter,
    /// Times that the clock was set back so far that the live model was filled anew.
    pub clock_set_back: Counter,
    /// Acknowledgements sent.
    pub acks_sent: Counter,
    /// HTTP requests answered.
    pub http_requests: Family<Request, Counter>,
    /// How long they took, from the request's head to the answer's head.
    pub http_duration: Family<RequestRoute, Histogram>,
    /// HTTP connections that are open now.
    pub http_connections: Gauge,
    /// How often all places of HTTP connections were taken, so that the next one waited.
    pub http_connections_full: Counter,
    /// HTTP connections that ended in the middle of something.
    pub http_connections_broken: Counter,
    /// Exports that were cut off because their client stopped reading.
    pub exports_cut_off: Counter,
    /// Questions to history.
    pub history: HistoryCounts,
    /// What the API server says.
    pub kubernetes: Kubernetes,
    /// What the secure port does.
    pub secure: Secure,
}

impl Default for SelfMetrics {
    fn default() -> Self {
        Self {
            frames_received: Counter::default(),
            frames_late: Counter::default(),
            frames_duplicate: Counter::default(),
            frames_unrecorded: Counter::default(),
            frames_refused: Family::default(),
            samples_received: Counter::default(),
            bytes_received: Counter::default(),
            streams_open: Gauge::default(),
            streams_refused: Family::default(),
            entities: Gauge::default(),
            archive: ArchiveMetrics::default(),
            ticks_closed: Counter::default(),
            clock_set_back: Counter::default(),
            acks_sent: Counter::default(),
            http_requests: Family::default(),
            http_duration: Family::new_with_constructor(duration_histogram),
            http_connections: Gauge::default(),
            http_connections_full: Counter::default(),
            http_connections_broken: Counter::default(),
            exports_cut_off: Counter::default(),
            history: HistoryCounts::default(),
            kubernetes: Kubernetes::default(),
            secure: Secure::default(),
        }
    }
}

impl SelfMetrics {
    /// Registers all of it. What is counted later shows too.
    pub fn register(&self, registry: &mut Registry) {
        let all = registry.sub_registry_with_prefix("tally");
        self.register_frames(all);
        self.register_streams(all);
        self.register_http(all);
        self.history.register(all);
        self.kubernetes.register(all);
        self.secure.register(all);
        self.archive.register(all);
    }

    fn register_http(&self, all: &mut Registry) {
        all.register("http_requests", "HTTP requests answered", self.http_requests.clone());
        all.register_with_unit(
            "http_request_duration",
            "Time from an HTTP request's head to its answer's head",
            Unit::Seconds,
            self.http_duration.clone(),
        );
        all.register(
            "http_connections",
            "HTTP connections that are open",
            self.http_connections.clone(),
        );
        all.register(
            "http_connections_full",
            "Times that all places of HTTP connections were taken, so that the next one waited",
            self.http_connections_full.clone(),
        );
        all.register(
            "http_connections_broken",
            "HTTP connections that ended early: a head that was malformed, too long or too slow, or \
             a client that stopped reading or went away",
            self.http_connections_broken.clone(),
        );
        all.register(
            "exports_cut_off",
            "Exports that ended early because their client stopped reading",
            self.exports_cut_off.clone(),
        );
    }

    fn register_frames(&self, all: &mut Registry) {
        all.register("frames_received", "Frames taken", self.frames_received.clone());
        all.register(
            "clock_set_back",
            "Times that this clock was set back by more than --max-clock-skew, so that the live model \
             was filled anew from the journal",
            self.clock_set_back.clone(),
        );
        all.register(
            "frames_late",
            "Frames of a tick that was already closed; they count in their own tick",
            self.frames_late.clone(),
        );
        all.register(
            "frames_duplicate",
            "Frames that were sent again and counted only once",
            self.frames_duplicate.clone(),
        );
        all.register(
            "frames_unrecorded",
            "Frames that could not be recorded for want of room on the disk; agents keep them",
            self.frames_unrecorded.clone(),
        );
        all.register(
            "frames_refused",
            "Frames that broke the format or a limit",
            self.frames_refused.clone(),
        );
        all.register(
            "samples_received",
            "Values in the frames taken",
            self.samples_received.clone(),
        );
        all.register_with_unit(
            "received",
            "Size of the packed columns of the frames taken",
            Unit::Bytes,
            self.bytes_received.clone(),
        );
    }

    fn register_streams(&self, all: &mut Registry) {
        all.register("streams_open", "Streams of agents that are open", self.streams_open.clone());
        all.register(
            "streams_refused",
            "Streams that were refused or ended for what they said",
            self.streams_refused.clone(),
        );
        all.register("entities", "Entities in the live model", self.entities.clone());
        all.register(
            "ticks_closed",
            "Ticks closed for namespaces and the cluster",
            self.ticks_closed.clone(),
        );
        all.register("acks_sent", "Acknowledgements sent to agents", self.acks_sent.clone());
    }
}

impl HistoryCounts {
    fn register(&self, all: &mut Registry) {
        all.register(
            "history_questions",
            "Questions to history whose parameters were good",
            self.questions.clone(),
        );
        all.register(
            "history_questions_refused",
            "Questions to history without an answer: too much or too long for one question, too \
             many at once, not read back yet, or a fault of the disk",
            self.refused.clone(),
        );
    }
}

/// From 50 µs, what one series takes, to 13 s, what an export takes over a slow network.
fn duration_histogram() -> Histogram {
    Histogram::new(exponential_buckets(50e-6, 4.0, 10))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_later_is_rendered() {
        let metrics = SelfMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.frames_received.inc();
        metrics.streams_refused.get_or_create(&Refusal { reason: "bad_hello" }).inc();
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.contains("tally_frames_received_total 1\n"), "{text}");
        assert!(text.contains("tally_streams_refused_total{reason=\"bad_hello\"} 1\n"), "{text}");
        assert!(text.contains("# UNIT tally_received_bytes bytes\n"), "{text}");
    }
}

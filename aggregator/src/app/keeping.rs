//! History as it runs: the threads that write, seal, merge and drop, and what they say of the disk.
//!
//! Each has one job and may wait for the disk; nothing else waits for them but acknowledgements.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tally_proto::{record::End, tick::Tick};
use tokio::{sync::watch, task::JoinSet};

use crate::{
    archive::{
        kept::Patience,
        refill::{Part, Refilled},
        seal::SealError,
        status::ArchiveStatus,
        upkeep::{Archive, Limits, OpenError},
    },
    clock::Clock,
    history::{
        cache::Cache,
        disk::{
            Disk,
            real::{Directory, DirectoryError},
        },
        error::HistoryError,
        file::Tier,
        store::{Recovered, Store},
    },
    journal::{Committer, Position, Span, WAITING_MOST, segment::SegmentName},
    model::Model,
    self_metrics::{ArchiveTier, SelfMetrics},
    settings::{HistorySettings, Settings},
    telemetry::chain,
};

/// How long a commit waits for more after the first of it came: agents send at the tick, within
/// some milliseconds. With the time that the disk takes it stays below 50 ms.
const GATHER: Duration = Duration::from_millis(15);

/// How often the committer looks whether a segment is due while nothing comes.
const IDLE: Duration = Duration::from_millis(500);

/// How long a disk that refused is left alone.
const AFTER_FAULT: Duration = Duration::from_secs(1);

/// How often is looked for segments to seal.
const SEAL_EVERY: Duration = Duration::from_millis(200);

/// How often is looked for files to merge and to drop.
const MERGE_EVERY: Duration = Duration::from_secs(15);

/// The longest a segment may last: what it holds should be in columns within half an hour, also
/// where the model reaches back for hours.
const SEGMENT_LONGEST: Duration = Duration::from_secs(1_200);

/// How long a segment with frames that are too old for the model may last: they are answered for
/// only when they are columns.
const SEGMENT_WITH_LATE: Duration = Duration::from_secs(15);

/// Bytes of a segment: the budget of bytes can't drop what is no history yet.
const SEGMENT_BYTES: u64 = 4 << 30;

/// How long a segment waits for a disk that can't read it, or what history has of the same time:
/// longer than a disk is away for a moment. What follows waits for it, and leaves the live model.
const GIVE_UP_AFTER: Duration = Duration::from_secs(300);

/// Why there is no history.
#[derive(Debug, thiserror::Error)]
pub enum KeepingError {
    /// The directory can't be had.
    #[error("{0}; name another by --history-dir, or keep none with --no-history")]
    Directory(#[source] DirectoryError),
    /// What is in it can't be used.
    #[error("cannot open history in {}", path.display())]
    Open {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: OpenError,
    },
}

/// History that runs. Dropping it lets its threads end.
#[derive(Debug)]
pub(super) struct Keeping {
    pub(super) archive: Arc<Archive>,
    pub(super) status: Arc<ArchiveStatus>,
    pub(super) durable: watch::Receiver<Position>,
    segments: Vec<SegmentName>,
    announce: Option<watch::Sender<Position>>,
    span: Span,
    stores_labels: bool,
    stopping: Arc<AtomicBool>,
    threads: JoinSet<()>,
}

/// What the threads share.
#[derive(Clone)]
struct Hands {
    archive: Arc<Archive>,
    status: Arc<ArchiveStatus>,
    model: Arc<Model>,
    metrics: SelfMetrics,
    clock: Clock,
    stopping: Arc<AtomicBool>,
}

impl Keeping {
    /// Takes the directory. Nothing is read but names and ends of files.
    pub(super) fn open(
        history: &HistorySettings,
        settings: &Settings,
    ) -> Result<Self, KeepingError> {
        let directory = Directory::take(&history.directory, std::process::id());
        let disk: Arc<dyn Disk> = Arc::new(directory.map_err(KeepingError::Directory)?);
        let path = || history.directory.clone();
        let failed = |source| KeepingError::Open { path: path(), source };
        let opened = Store::open(Arc::clone(&disk), Cache::default());
        let (store, recovered) = opened.map_err(|error| failed(error.into()))?;
        tell(&recovered);
        let limits = Limits { retention: history.retention, waiting_most: WAITING_MOST };
        let opened = Archive::open(disk, Arc::new(store), settings.resolution, limits);
        let (archive, segments) = opened.map_err(failed)?;
        let (announce, durable) = watch::channel(Position::default());
        Ok(Self {
            archive: Arc::new(archive),
            status: Arc::new(ArchiveStatus::new(segments.len() * refill_threads())),
            durable,
            segments,
            announce: Some(announce),
            span: span(settings),
            stores_labels: !settings.labels.stored.is_empty(),
            stopping: Arc::default(),
            threads: JoinSet::new(),
        })
    }

    /// Fills the model from the journal up to a tick. It takes up to some seconds, in which nothing
    /// may be appended.
    pub(super) fn refill(
        &mut self,
        model: &Arc<Model>,
        until: Tick,
    ) -> impl FnOnce() + Send + use<> {
        let (archive, status) = (Arc::clone(&self.archive), Arc::clone(&self.status));
        let (model, segments) = (Arc::clone(model), std::mem::take(&mut self.segments));
        move || {
            match archive.store().newest_tick() {
                Ok(newest) => model.set_recorded_before(newest.unwrap_or_default()),
                Err(error) => tell_error("the newest time of history is not known", &error),
            }
            let frames = refill(&archive, (&model, until), &status, &segments);
            if frames != 0 {
                tracing::info!(frames, "the live model is filled from the journal");
            }
            status.refilled_all();
        }
    }

    /// Starts the threads.
    pub(super) fn begin(&mut self, model: &Arc<Model>, metrics: &SelfMetrics, clock: &Clock) {
        metrics.archive.disk_ok.set(1);
        let hands = Hands {
            archive: Arc::clone(&self.archive),
            status: Arc::clone(&self.status),
            model: Arc::clone(model),
            metrics: metrics.clone(),
            clock: clock.clone(),
            stopping: Arc::clone(&self.stopping),
        };
        if let Some(announce) = self.announce.take() {
            let (disk, journal) = (self.archive.disk(), self.archive.journal());
            let committer = Committer::new(Arc::clone(disk), Arc::clone(journal), self.span);
            let committer =
                if self.stores_labels { committer.with_stored_labels() } else { committer };
            let hands = hands.clone();
            self.threads.spawn_blocking(move || commit(&hands, committer, &announce));
        }
        let sealing = hands.clone();
        self.threads.spawn_blocking(move || seal(&sealing));
        self.threads.spawn_blocking(move || merge(&hands));
    }

    /// Waits for a thread that ends unasked.
    pub(super) async fn ended(&mut self) {
        if self.threads.is_empty() {
            std::future::pending::<()>().await;
        }
        self.threads.join_next().await;
    }

    /// Writes what is left, and lets the threads end.
    pub(super) async fn stop(mut self) {
        self.archive.journal().stop();
        self.stopping.store(true, Ordering::Relaxed);
        while self.threads.join_next().await.is_some() {}
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        self.archive.journal().stop();
        self.stopping.store(true, Ordering::Relaxed);
    }
}

/// More would wait for each other at the sums that all nodes share.
const REFILL_THREADS: usize = 4;

fn refill_threads() -> usize {
    thread::available_parallelism().map_or(1, usize::from).min(REFILL_THREADS)
}

/// Fills the model from segments, on several threads, each with its part of the nodes. How many
/// frames it has then.
fn refill(
    archive: &Archive,
    (model, until): (&Model, Tick),
    status: &ArchiveStatus,
    segments: &[SegmentName],
) -> u64 {
    let of = u64::try_from(refill_threads()).unwrap_or(1);
    let part = |number| {
        let each = segments.iter().map(|name| {
            let refilled = archive.refill(*name, model, Part { number, of, until });
            status.refilled_one();
            refilled
        });
        each.collect::<Vec<_>>()
    };
    let all: Vec<Vec<_>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..of).map(|number| scope.spawn(move || part(number))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let mut frames = 0;
    for (place, name) in segments.iter().enumerate() {
        let mut parts = all.iter().filter_map(|part| part.get(place));
        let Some(first) = parts.next() else { continue };
        match first {
            Ok(first) => {
                let others = parts.filter_map(|part| part.as_ref().ok());
                let whole = others.fold(first.clone(), Refilled::and);
                frames += whole.frames;
                if whole.end == End::Damaged {
                    tracing::warn!(segment = %name, "the journal is damaged from some place on");
                }
                archive.refilled(*name, &whole);
            }
            Err(error) => {
                tracing::error!(
                    error = chain(error),
                    "a part of the journal can't be read: the live model lacks what is in it"
                );
                archive.not_refilled(*name);
            }
        }
    }
    frames
}

/// A segment becomes columns before its frames leave the model: it lasts for two thirds of the
/// window, and sealing has the other third.
fn span(settings: &Settings) -> Span {
    let longest = (settings.model_window * 2 / 3).min(SEGMENT_LONGEST);
    Span { longest, longest_with_late: SEGMENT_WITH_LATE.min(longest), bytes: SEGMENT_BYTES }
}

fn tell(recovered: &Recovered) {
    for (name, what) in &recovered.damaged {
        tracing::error!(file = name, what, "a file of history is damaged and is not read");
    }
    if !recovered.unfinished.is_empty() {
        tracing::info!(files = ?recovered.unfinished, "removed what was being written when it ended");
    }
}

fn tell_error(what: &'static str, error: &HistoryError) {
    tracing::error!(error = chain(error), "{what}");
}

/// Writes what gathers, syncs it, and announces how far it is durable.
fn commit(hands: &Hands, mut committer: Committer, announce: &watch::Sender<Position>) {
    let Hands { archive, clock, .. } = hands;
    let journal = archive.journal();
    while journal.wait(IDLE) || committer.has_work() {
        thread::sleep(GATHER);
        match committer.commit(clock.elapsed()) {
            Ok(committed) => {
                hands.disk_works();
                archive.set_open_bytes(committer.open_bytes());
                if let Some(closed) = committed.closed {
                    archive.close(closed);
                }
                announce.send_if_modified(|durable| {
                    let is_news = *durable < committed.durable;
                    *durable = committed.durable.max(*durable);
                    is_news
                });
            }
            Err(error) => {
                hands.disk_refuses(&error);
                if hands.stopping.load(Ordering::Relaxed) {
                    tracing::error!("frames that were not acknowledged are left to their agents");
                    return;
                }
                thread::sleep(AFTER_FAULT);
            }
        }
    }
}

/// Makes columns of closed segments, and removes those that nobody needs any more.
fn seal(hands: &Hands) {
    let Hands { archive, model, .. } = hands;
    // Since when the segment whose turn it is, or what history has of its time, can't be read.
    let mut unread_since: Option<Duration> = None;
    let mut said = false;
    while !hands.stopping.load(Ordering::Relaxed) {
        match hands.seal_next(unread_since) {
            Ok(true) => {
                (unread_since, said) = (None, false);
                continue;
            }
            Ok(false) => (unread_since, said) = (None, false),
            Err(error) => {
                hands.metrics.archive.disk_faults.inc();
                if !std::mem::replace(&mut said, true) {
                    tracing::error!(
                        error = chain(&error),
                        "cannot make history of the journal; it is kept, and tried again"
                    );
                }
                unread_since = match error {
                    // A full disk is waited for however long it takes.
                    SealError::Write(_) => None,
                    SealError::Segment(_) | SealError::Kept(_) => {
                        unread_since.or_else(|| Some(hands.clock.elapsed()))
                    }
                };
                thread::sleep(AFTER_FAULT);
            }
        }
        let oldest = model.cluster().progress.newest().map(|newest| model.oldest(newest));
        if let Some(Err(error)) = oldest.map(|oldest| archive.drop_kept(oldest)) {
            tracing::warn!(%error, "cannot remove a part of the journal");
        }
        hands.count();
        thread::sleep(SEAL_EVERY);
    }
}

/// Merges files, and drops what is too old or too much.
fn merge(hands: &Hands) {
    let metrics = &hands.metrics;
    let mut said = false;
    let mut waited = MERGE_EVERY;
    while !hands.stopping.load(Ordering::Relaxed) {
        if waited < MERGE_EVERY {
            thread::sleep(SEAL_EVERY);
            waited += SEAL_EVERY;
            continue;
        }
        waited = Duration::ZERO;
        match hands.merge_and_drop() {
            Ok(()) => said = false,
            Err(error) => {
                metrics.archive.disk_faults.inc();
                if !std::mem::replace(&mut said, true) {
                    tell_error("cannot merge or drop files of history; tried again", &error);
                }
            }
        }
    }
}

impl Hands {
    fn now(&self) -> Tick {
        Tick(u64::try_from(self.clock.now().0 / 1000).unwrap_or(0))
    }

    /// Makes history of the next segment. Whether there was one.
    fn seal_next(&self, unread_since: Option<Duration>) -> Result<bool, SealError> {
        let waited = unread_since.map(|since| self.clock.elapsed().saturating_sub(since));
        let gives_up = waited.is_some_and(|waited| GIVE_UP_AFTER <= waited);
        let patience = if gives_up { Patience::GivesUp } else { Patience::Waits };
        let metrics = &self.metrics.archive;
        match self.archive.seal_next(patience) {
            Ok(Some(sealed)) => {
                metrics.samples_sealed.inc_by(sealed.samples);
                metrics.frames_known.inc_by(sealed.known);
                metrics.reads_given_up.inc_by(sealed.given_up);
                if sealed.unreadable != 0 {
                    let frames = sealed.unreadable;
                    tracing::warn!(frames, "frames of the journal make no sense");
                }
                if sealed.given_up != 0 {
                    tracing::error!(
                        reads = sealed.given_up,
                        "history can't be read where late values belong: sums of that time may lack \
                         them; `tally-aggregator history verify` says what is damaged"
                    );
                }
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(SealError::Segment(error)) if gives_up => {
                let aside = self.archive.set_aside_next().map_err(SealError::Write)?;
                metrics.segments_set_aside.inc();
                tracing::error!(
                    error = chain(&error),
                    file = aside.map(|name| name.to_string()),
                    "a segment of the journal can't be read and is set aside: what it holds is in no \
                     answer until its file is mended and given its old name again"
                );
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    fn merge_and_drop(&self) -> Result<(), HistoryError> {
        let dropped = self.archive.drop_old(self.now())?;
        self.metrics.archive.bytes_dropped.inc_by(dropped.bytes);
        while let Some(merged) = self.archive.merge(self.now())? {
            self.metrics.archive.files_merged.inc_by(u64::try_from(merged.from).unwrap_or(0));
            if self.stopping.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(())
    }

    fn disk_works(&self) {
        if self.status.set_fault(None) {
            self.metrics.archive.disk_ok.set(1);
            tracing::info!("the disk takes what is written again");
        }
    }

    fn disk_refuses(&self, error: &std::io::Error) {
        self.metrics.archive.disk_faults.inc();
        if self.status.set_fault(Some(error.to_string())) {
            self.metrics.archive.disk_ok.set(0);
            tracing::error!(
                %error,
                "the disk refuses the journal: frames are in memory only and are not acknowledged, \
                 agents keep them; make room in --history-dir"
            );
        }
    }

    fn count(&self) {
        let metrics = &self.metrics.archive;
        let wide = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        let left_out = self.archive.store().take_left_out();
        if left_out != 0 {
            tracing::warn!(series = left_out, "history has no room for all that an entity has");
            metrics.series_left_out.inc_by(left_out);
        }
        let files = self.archive.store().files();
        for (tier, word) in Tier::ALL.into_iter().zip(["raw", "5m", "1h"]) {
            let of_tier = || files.iter().filter(|(name, _)| name.tier == tier);
            let label = ArchiveTier { tier: word };
            let count = i64::try_from(of_tier().count()).unwrap_or(i64::MAX);
            metrics.files.get_or_create(&label).set(count);
            let bytes = of_tier().map(|(_, file)| file.bytes).sum();
            metrics.bytes.get_or_create(&label).set(wide(bytes));
        }
        let oldest = files.keys().map(|name| name.window.first().0).min();
        metrics.oldest.set(wide(oldest.unwrap_or(0)));
        let journal = self.archive.journal_held();
        let label = ArchiveTier { tier: "journal" };
        metrics.files.get_or_create(&label).set(wide(journal.segments));
        metrics.bytes.get_or_create(&label).set(wide(journal.bytes));
        metrics.segments_waiting.set(wide(journal.unsealed));
    }
}

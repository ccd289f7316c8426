//! The uplink's side of the disk: gives it one job after the other, wakes up when it is time for
//! one, and tells people what became of it.

use std::{io, pin::Pin, time::Duration};

use tokio::time::{Sleep, sleep};
use tracing::{info, warn};

use crate::{
    backlog::Backlog,
    counters::Counters,
    folder::Worker,
    outbox::Lost,
    spool::{News, disk::Done},
};

/// One job at a time.
pub(super) struct Spooling {
    worker: Option<Worker>,
    is_busy: bool,
    result: Option<io::Result<Done>>,
    /// When there may be something to do, and a timer for it.
    wake: Option<(Duration, Pin<Box<Sleep>>)>,
    counted: Lost,
    counted_faults: u64,
}

impl Spooling {
    pub(super) fn new(worker: Option<Worker>) -> Self {
        Self {
            worker,
            is_busy: false,
            result: None,
            wake: None,
            counted: Lost::default(),
            counted_faults: 0,
        }
    }

    pub(super) fn is_busy(&self) -> bool {
        self.is_busy
    }

    /// A job is done, or it is time for one. Nothing is lost when it is not waited for to the end.
    pub(super) async fn event(&mut self) {
        match &mut self.worker {
            Some(worker) if self.is_busy => {
                self.result = Some(worker.done().await);
            }
            _ => {
                let mut timer = self.wake.as_mut().map(|(_, timer)| timer);
                match &mut timer {
                    Some(timer) => timer.await,
                    None => std::future::pending().await,
                }
                self.wake = None;
            }
        }
    }

    /// Tells the backlog what is done, and gives the disk the next thing to do.
    pub(super) fn tend(&mut self, backlog: &mut Backlog, now: Duration) {
        let Some(worker) = &self.worker else { return };
        if let Some(result) = self.result.take() {
            self.is_busy = false;
            backlog.done(result, now);
        }
        if !self.is_busy
            && let Some(job) = backlog.next_job(now)
        {
            self.is_busy = true;
            worker.give(job);
        }
        let wake_at = backlog.wake_at();
        if self.wake.as_ref().map(|(at, _)| *at) != wake_at {
            self.wake = wake_at.map(|at| (at, Box::pin(sleep(at.saturating_sub(now)))));
        }
        backlog.take_news().into_iter().for_each(say);
    }

    /// Counts what was given up since this was last called. How many frames.
    pub(super) fn count(&mut self, backlog: &Backlog, counters: &Counters) -> u64 {
        let lost = backlog.lost();
        let frames = lost.frames - self.counted.frames;
        counters.frames_dropped.add(frames);
        counters.samples_dropped.add(lost.samples - self.counted.samples);
        self.counted = lost;
        if let Some((bytes, faults)) = backlog.spool_state() {
            counters.spool_bytes.set(bytes);
            counters.spool_faults.add(faults - self.counted_faults);
            self.counted_faults = faults;
        }
        frames
    }
}

fn say(news: News) {
    match news {
        News::Found { segments, frames } => {
            info!(segments, frames, "earlier runs left frames in the spool; they are sent first");
        }
        News::NotAlike { segments } => warn!(
            segments,
            "the spool has frames of another --node or --resolution: they are kept until they are \
             too old, and sent if this agent is started with those again"
        ),
        News::Newer { segments, version } => warn!(
            segments,
            version,
            "the spool has files of a newer version, which are left alone: start that version \
             again to deliver them, or remove them"
        ),
        News::Damaged { segments, frames } => {
            warn!(segments, frames, "files of the spool are damaged; what was in the rest is lost");
        }
        News::NotRead(segment) => warn!(
            segment = segment.0,
            "a file of the spool cannot be read; its frames are counted as dropped"
        ),
        News::Refused { frames } => warn!(
            frames,
            "the aggregator refuses what a file of the spool says; its frames are dropped"
        ),
        News::Fails(error) => warn!(
            %error,
            "cannot write to the spool: frames are kept in memory only until it works again"
        ),
        News::Works => info!("the spool works again"),
    }
}

//! Delivers frames to the aggregator, whatever becomes of the network.
//!
//! One task owns the backlog and the stream. It takes every reading in at once, so neither a slow
//! nor a dead aggregator, nor a slow disk, delays a tick; it sends a bounded number of frames ahead
//! of their acknowledgements; and after any failure it begins a new stream at the oldest frame
//! that is not acknowledged. Sending again is harmless: (run, sequence) names a frame for ever.

mod link;
#[cfg(test)]
pub(crate) mod loopback;
mod messages;
mod outage;
mod spooling;

use std::{pin::Pin, sync::Arc, time::Duration};

use tally_proto::message::{AgentMessage, Hello, Welcome};
use tokio::time::{Instant, Sleep, sleep};
use tonic::transport::Endpoint;
use tracing::{debug, error, info, warn};

use self::{
    link::{Event, Failure, Link, elapsed, kept_alive},
    outage::{Outage, Pace, Report},
    spooling::Spooling,
};
pub use crate::backlog::Leftover;
use crate::{
    backlog::{Backlog, Refusal},
    backoff::{Backoff, Policy},
    counters::Counters,
    folder::Worker,
    handover::{Reading, Taker},
    outbox::Limits,
    spool,
    telemetry::chain,
};

/// How long the acknowledgement of a frame that is delivered may take. What lies in memory for that
/// long costs some KB; hearing of several frames at once saves each node's wakeup, and a quarter of
/// the aggregator's work. It is less than [`spool::SPILL_AFTER`], so that no disk hears of it.
pub const ACKNOWLEDGE_WITHIN: Duration = Duration::from_secs(5);

/// How the uplink reaches the aggregator, and how patient it is.
pub struct Options {
    /// Where the aggregator listens.
    pub endpoint: Endpoint,
    /// Who speaks.
    pub hello: Hello,
    /// How much is kept in memory.
    pub limits: Limits,
    /// How much is kept on disk, where there is one.
    pub spool: Option<spool::Limits>,
    /// How long to wait for a look at what earlier runs left on disk, which must go first, before
    /// the first stream is opened.
    pub settle_within: Duration,
    /// Waits after failures that end by themselves.
    pub soon: Policy,
    /// Waits after refusals that last until a person acts.
    pub slow: Policy,
    /// A stream that lived this long was good: the next failure is waited out from the beginning.
    pub settled_after: Duration,
    /// How long to go on delivering what is queued when the agent stops.
    pub last_words: Duration,
    /// Random numbers, evenly distributed.
    pub random: fn() -> u64,
}

impl Options {
    /// After a restart of the aggregator, 5,000 agents come back within two seconds.
    pub const SOON: Policy = Policy {
        floor: Duration::from_millis(200),
        first: Duration::from_secs(2),
        ceiling: Duration::from_secs(30),
    };

    /// A full spool on a slow disk is read in a few seconds.
    pub const SETTLE_WITHIN: Duration = Duration::from_secs(5);

    /// Nobody repairs a version or a setting in less.
    pub const SLOW: Policy = Policy {
        floor: Duration::from_secs(30),
        first: Duration::from_secs(60),
        ceiling: Duration::from_secs(300),
    };

    /// What is right for an agent in service.
    pub fn new(endpoint: Endpoint, hello: Hello, limits: Limits, random: fn() -> u64) -> Self {
        Self {
            endpoint: kept_alive(endpoint),
            hello,
            limits,
            spool: None,
            settle_within: Self::SETTLE_WITHIN,
            soon: Self::SOON,
            slow: Self::SLOW,
            settled_after: Duration::from_secs(30),
            last_words: Duration::from_secs(2),
            random,
        }
    }
}

/// Delivers what comes out of `readings` until there is no more. Then it goes on for
/// [`Options::last_words`] at most. `disk` keeps what can't be delivered, if the options say how
/// much.
pub async fn run(
    options: Options,
    readings: Taker,
    disk: Option<Worker>,
    counters: Arc<Counters>,
) -> Leftover {
    Uplink::new(options, readings, disk, counters).run().await
}

struct Uplink {
    options: Options,
    readings: Taker,
    counters: Arc<Counters>,
    backlog: Backlog,
    spooling: Spooling,
    link: Link,
    /// Whether a first stream was asked for.
    is_begun: bool,
    outage: Outage,
    soon: Backoff,
    slow: Backoff,
    began: Instant,
    /// Set when no more readings come.
    stop_at: Option<Pin<Box<Sleep>>>,
    /// Whether the time for last words is over.
    is_late: bool,
}

impl Uplink {
    fn new(
        options: Options,
        readings: Taker,
        disk: Option<Worker>,
        counters: Arc<Counters>,
    ) -> Self {
        let limits = options.spool.filter(|_| disk.is_some());
        Self {
            backlog: Backlog::new(options.hello.clone(), options.limits, limits),
            spooling: Spooling::new(disk),
            link: Link::Resting(Box::pin(sleep(options.settle_within))),
            is_begun: false,
            outage: Outage::default(),
            soon: Backoff::new(options.soon),
            slow: Backoff::new(options.slow),
            began: Instant::now(),
            stop_at: None,
            is_late: false,
            options,
            readings,
            counters,
        }
    }

    async fn run(mut self) -> Leftover {
        self.tend_disk();
        while !self.is_done() {
            if !self.is_begun && self.backlog.is_settled() {
                self.open();
            }
            self.close_if_over();
            let may_send = self.backlog.may_send();
            tokio::select! {
                reading = self.readings.take(), if self.stop_at.is_none() => match reading {
                    Some(reading) => self.keep(reading),
                    None => self.begin_to_stop(),
                },
                event = self.link.event(may_send) => self.on(event),
                () = self.spooling.event() => (),
                () = elapsed(&mut self.stop_at), if self.stop_at.is_some() && !self.is_late => {
                    self.is_late = true;
                }
            }
            self.tend_disk();
        }
        self.backlog.leftover()
    }

    /// Whether all is delivered, or there is no more time and what is left is safe on disk.
    fn is_done(&self) -> bool {
        let is_delivered = self.backlog.in_memory() == 0;
        self.stop_at.is_some()
            && !self.spooling.is_busy()
            && (is_delivered || self.is_late && self.backlog.is_safe())
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn open(&mut self) {
        self.is_begun = true;
        let hello = self.backlog.begin_stream();
        let endpoint = self.options.endpoint.clone().connect_timeout(self.outage.connect_within());
        self.link = Link::open(endpoint, hello, self.options.settled_after);
    }

    /// Ends a stream that has nothing more to carry. An aggregator holds acknowledgements back
    /// that nobody waits for; at the end of a stream it does not.
    fn close_if_over(&mut self) {
        let is_last = self.stop_at.is_some() && self.backlog.is_all_sent();
        if self.link.is_open() && (is_last || self.backlog.is_stream_over()) {
            self.link.close();
        }
    }

    fn keep(&mut self, reading: Reading) {
        let now = self.now();
        let buffer = self.backlog.push(reading, now);
        self.count_lost();
        self.readings.give_back(buffer);
    }

    fn tend_disk(&mut self) {
        let now = self.now();
        self.spooling.tend(&mut self.backlog, now);
        self.count_lost();
    }

    /// No more readings will come. A link that rests tries once more, at once.
    fn begin_to_stop(&mut self) {
        self.stop_at = Some(Box::pin(sleep(self.options.last_words)));
        self.backlog.stop();
        if matches!(self.link, Link::Resting(_)) {
            self.open();
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Rested | Event::Ended => self.open(),
            Event::Welcomed(welcome) => self.begin(welcome),
            Event::Room => self.send_next(),
            Event::Acknowledged(sequence) => self.backlog.acknowledge(sequence),
            Event::Settled => {
                self.soon.reset();
                self.slow.reset();
            }
            Event::Failed(failure) => self.fail(&failure),
        }
    }

    fn begin(&mut self, welcome: Welcome) {
        self.backlog.welcomed(welcome.acknowledged);
        let frames_queued = self.backlog.in_memory();
        match (self.outage.ended(), self.backlog.is_replaying()) {
            (Some(failures), false) => info!(failures, frames_queued, "delivering again"),
            (Some(failures), true) => {
                info!(failures, frames_queued, "delivering again, first what is in the spool");
            }
            (None, false) => info!(frames_queued, "delivering"),
            (None, true) => info!(frames_queued, "delivering what is in the spool"),
        }
    }

    fn send_next(&mut self) {
        if let Some(outgoing) = self.backlog.send_next() {
            self.link.say(messages::declarations(outgoing.declarations));
            self.link.say([AgentMessage::Frame(outgoing.frame)]);
        }
        self.count_lost();
    }

    fn count_lost(&mut self) {
        let frames = self.spooling.count(&self.backlog, &self.counters);
        if self.outage.overflows(frames) {
            warn!(
                frames_queued = self.backlog.in_memory(),
                "frames are dropped and counted in agent/frames_dropped: the oldest of a full outbox, or \
                 those of a time that this clock was wrong about"
            );
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.counters.connections_failed.add(1);
        let refusal = failure.kind().refusal().filter(|_| self.link.is_welcomed());
        let random = (self.options.random)();
        let wait = match (failure.kind().pace(), refusal) {
            // Clocks are set right without anybody's telling.
            (_, Some(Refusal::Time)) | (Pace::Soon, _) => self.soon.failed(random),
            (Pace::Slow, _) => self.slow.failed(random),
        };
        self.link = Link::Resting(Box::pin(sleep(wait)));
        self.backlog.stream_failed(refusal);
        self.count_lost();
        let aggregator = self.options.endpoint.uri();
        let (error, advice) = (chain(failure), failure.kind().advice());
        match (self.outage.failed(failure.kind()), failure.kind().pace()) {
            (Report::Continues, _) => debug!(%aggregator, %error, ?wait, "still not delivering"),
            (Report::Begins, Pace::Soon) => {
                warn!(%aggregator, %error, advice, "not delivering; frames are kept");
            }
            (Report::Begins, Pace::Slow) => {
                error!(%aggregator, %error, advice, "not delivering; frames are kept");
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Delivers frames to the aggregator, whatever becomes of the network.
//!
//! One task owns the outbox and the stream. It takes every reading in at once, so neither a slow
//! nor a dead aggregator delays a tick; it sends a bounded number of frames ahead of their
//! acknowledgements; and after any failure it begins a new stream at the oldest frame that is
//! not acknowledged. Sending again is harmless: (run, sequence) names a frame for ever.

mod link;
#[cfg(test)]
pub(crate) mod loopback;
mod messages;
mod outage;

use std::{pin::Pin, sync::Arc, time::Duration};

use tally_proto::message::{AgentMessage, Hello, Welcome};
use tokio::time::{Sleep, sleep};
use tonic::transport::Endpoint;
use tracing::{debug, error, info, warn};

use self::{
    link::{Event, Failure, Link, elapsed, kept_alive},
    outage::{Outage, Pace, Report},
};
use crate::{
    backoff::{Backoff, Policy},
    counters::Counters,
    handover::{Reading, Taker},
    outbox::{Limits, Outbox},
    telemetry::chain,
};

/// Frames that are sent ahead of their acknowledgement. At 5 KB a frame and 50 ms there and back
/// that is 6 MB/s, enough to catch up with 15 minutes in a second; the aggregator holds no more
/// of one agent than this.
const IN_FLIGHT_MAX: usize = 64;

/// How the uplink reaches the aggregator, and how patient it is.
pub struct Options {
    /// Where the aggregator listens.
    pub endpoint: Endpoint,
    /// Who speaks.
    pub hello: Hello,
    /// How much is kept.
    pub limits: Limits,
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
            soon: Self::SOON,
            slow: Self::SLOW,
            settled_after: Duration::from_secs(30),
            last_words: Duration::from_secs(2),
            random,
        }
    }

    fn open(&self) -> Link {
        Link::open(&self.endpoint, &self.hello, self.settled_after)
    }
}

/// What was left when the uplink ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leftover {
    /// Frames that nobody acknowledged.
    pub frames: usize,
}

/// Delivers what comes out of `readings` until there is no more. Then it goes on for
/// [`Options::last_words`] at most.
pub async fn run(options: Options, readings: Taker, counters: Arc<Counters>) -> Leftover {
    Uplink::new(options, readings, counters).run().await
}

struct Uplink {
    options: Options,
    readings: Taker,
    counters: Arc<Counters>,
    outbox: Outbox,
    link: Link,
    outage: Outage,
    soon: Backoff,
    slow: Backoff,
    /// Set when no more readings come.
    stop_at: Option<Pin<Box<Sleep>>>,
}

impl Uplink {
    fn new(options: Options, readings: Taker, counters: Arc<Counters>) -> Self {
        Self {
            outbox: Outbox::new(options.limits),
            link: options.open(),
            outage: Outage::default(),
            soon: Backoff::new(options.soon),
            slow: Backoff::new(options.slow),
            stop_at: None,
            options,
            readings,
            counters,
        }
    }

    async fn run(mut self) -> Leftover {
        while self.stop_at.is_none() || !self.outbox.is_empty() {
            let may_send = self.outbox.has_unsent() && self.outbox.in_flight() < IN_FLIGHT_MAX;
            tokio::select! {
                reading = self.readings.take(), if self.stop_at.is_none() => match reading {
                    Some(reading) => self.keep(reading),
                    None => self.begin_to_stop(),
                },
                event = self.link.event(may_send) => self.on(event),
                () = elapsed(&mut self.stop_at), if self.stop_at.is_some() => break,
            }
        }
        Leftover { frames: self.outbox.len() }
    }

    fn keep(&mut self, reading: Reading) {
        let before = self.outbox.dropped();
        let buffer = self.outbox.push(reading);
        self.count_dropped(before);
        self.readings.give_back(buffer);
    }

    /// No more readings will come. A link that rests tries once more, at once.
    fn begin_to_stop(&mut self) {
        self.stop_at = Some(Box::pin(sleep(self.options.last_words)));
        if matches!(self.link, Link::Resting(_)) {
            self.link = self.options.open();
        }
    }

    fn on(&mut self, event: Event) {
        match event {
            Event::Rested => self.link = self.options.open(),
            Event::Welcomed(welcome) => self.begin(welcome),
            Event::Room => self.send_next(),
            Event::Acknowledged(sequence) => self.outbox.acknowledge(sequence),
            Event::Settled => {
                self.soon.reset();
                self.slow.reset();
            }
            Event::Failed(failure) => self.fail(&failure),
        }
    }

    fn begin(&mut self, welcome: Welcome) {
        self.outbox.acknowledge(welcome.acknowledged);
        if let Some(failures) = self.outage.ended() {
            info!(failures, frames_queued = self.outbox.len(), "delivering again");
        } else {
            info!(frames_queued = self.outbox.len(), "delivering");
        }
    }

    fn send_next(&mut self) {
        let before = self.outbox.dropped();
        if let Some(outgoing) = self.outbox.send_next() {
            self.link.say(messages::declarations(outgoing.declarations));
            self.link.say([AgentMessage::Frame(outgoing.frame)]);
        }
        self.count_dropped(before);
    }

    fn count_dropped(&mut self, before: u64) {
        let dropped = self.outbox.dropped() - before;
        self.counters.frames_dropped.add(dropped);
        if self.outage.overflows(dropped) {
            warn!(
                frames_queued = self.outbox.len(),
                "the outbox is full: the oldest frames are dropped and counted in agent/frames_dropped"
            );
        }
    }

    fn fail(&mut self, failure: &Failure) {
        self.counters.connections_failed.add(1);
        let pace = failure.kind().pace();
        let random = (self.options.random)();
        let wait = match pace {
            Pace::Soon => self.soon.failed(random),
            Pace::Slow => self.slow.failed(random),
        };
        self.link = Link::Resting(Box::pin(sleep(wait)));
        self.outbox.restart();
        let aggregator = self.options.endpoint.uri();
        let (error, advice) = (chain(failure), failure.kind().advice());
        match (self.outage.failed(failure.kind()), pace) {
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

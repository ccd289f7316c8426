//! One node as its agent delivers it: what is not acknowledged is kept and sent again.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use tally_proto::{
    columns::{Builder, Packer},
    decode, encode,
    message::{AgentMessage, AggregatorMessage, BootId, Hello, PackedFrame, Run, Sequence},
    tick::Resolution,
    wire::{self, ingest_client::IngestClient},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::cluster::Cluster;
use crate::swarm::random::Random;

/// Frames under way at once.
const AHEAD: u64 = 200;

/// Messages between a player and gRPC.
const QUEUE: usize = 4;

/// How long a welcome may take; the aggregator waits up to a second for its disk.
const PATIENCE: Duration = Duration::from_secs(10);

/// What befalls a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Its connection breaks.
    Cut,
    /// Its connection breaks, and it has not heard of the newest acknowledgements.
    Deaf,
    /// Its agent is killed and started again: what is measured from here on is another run.
    Restarted,
}

/// What everybody looks at.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Where the aggregator listens.
    pub url: String,
    /// How many ticks were measured so far.
    pub measured: watch::Receiver<u64>,
    /// Whether there is a network between this node and the aggregator.
    pub connected: watch::Receiver<bool>,
}

/// What was done, for people.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames sent, each as often as it was.
    pub sent: AtomicU64,
    /// Streams that were opened.
    pub streams: AtomicU64,
    /// Ticks that are acknowledged, by node.
    pub acknowledged: [AtomicU64; 4],
}

/// One node.
#[derive(Debug)]
pub struct Player {
    cluster: Arc<Cluster>,
    node: u32,
    random: Random,
    schedule: Schedule,
    fates: mpsc::Receiver<Fate>,
    counts: Arc<Counts>,
    /// Runs of its agent, and the place of the first tick of each; oldest first.
    runs: VecDeque<(Run, u64)>,
    /// All before this place is acknowledged.
    acknowledged: u64,
    /// It does not heed what the next welcome says.
    is_deaf: bool,
}

/// An open stream.
struct Stream {
    messages: mpsc::Sender<wire::AgentMessage>,
    answers: Streaming<wire::AggregatorMessage>,
    builder: Builder,
    packer: Packer,
    run_first: u64,
    /// The place after the last tick of the run.
    run_end: u64,
    next: u64,
    is_first: bool,
}

/// What comes next on a stream.
enum Event {
    Fate(Fate),
    Broken,
    Answer(wire::AggregatorMessage),
    MaySend,
    Measured,
}

impl Player {
    /// A node that has sent nothing yet.
    pub fn new(
        cluster: Arc<Cluster>,
        node: u32,
        schedule: Schedule,
        fates: mpsc::Receiver<Fate>,
        counts: Arc<Counts>,
    ) -> Self {
        let mut random = Random::new(cluster.seed, 1_000 + u64::from(node));
        let runs = VecDeque::from([(Run(random.bits()), 0)]);
        Self {
            cluster,
            node,
            random,
            schedule,
            fates,
            counts,
            runs,
            acknowledged: 0,
            is_deaf: false,
        }
    }

    /// Plays until every tick is acknowledged.
    pub async fn play(mut self) -> anyhow::Result<()> {
        while self.acknowledged < self.cluster.ticks() {
            self.schedule.connected.wait_for(|connected| *connected).await?;
            let Some(mut stream) = self.open().await? else {
                sleep(Duration::from_millis(30 + self.random.below(150))).await;
                continue;
            };
            self.deliver(&mut stream).await?;
            if stream.run_end <= self.acknowledged {
                // As an agent does before it goes on with the next run: so the stream ends in order.
                let Stream { messages, mut answers, .. } = stream;
                drop(messages);
                let end = async { while let Ok(Some(_)) = answers.message().await {} };
                timeout(PATIENCE, end).await.ok();
            }
        }
        Ok(())
    }

    /// The first run with something to deliver, its first place, and the place after its last.
    fn run(&self) -> Option<(Run, u64, u64)> {
        let next = self.runs.iter().map(|(_, first)| *first).skip(1);
        let ends = next.chain([self.cluster.ticks()]);
        let mut runs = self.runs.iter().zip(ends).map(|((run, first), end)| (*run, *first, end));
        runs.find(|(_, _, end)| self.acknowledged < *end)
    }

    /// A new stream, or `None` when there is nobody.
    async fn open(&mut self) -> anyhow::Result<Option<Stream>> {
        let (run, run_first, run_end) = self.run().context("nothing to deliver")?;
        let hello = Hello {
            node: self.cluster.node(self.node)?,
            boot: BootId([u8::try_from(self.node)?; 16]),
            run,
            resolution: Resolution::from_seconds(1)?,
            agent_version: "faults".to_owned(),
            acknowledge_within: Duration::ZERO,
        };
        let url = self.schedule.url.clone();
        let (messages, outbox) = mpsc::channel(QUEUE);
        messages.send(encode::agent_message(AgentMessage::Hello(hello))).await?;
        let begin = async {
            let mut client = IngestClient::connect(url).await.ok()?;
            let mut answers = client.stream(ReceiverStream::new(outbox)).await.ok()?.into_inner();
            let welcome = answers.message().await.ok()??;
            Some((answers, welcome))
        };
        let Ok(Some((answers, welcome))) = timeout(PATIENCE, begin).await else { return Ok(None) };
        let AggregatorMessage::Welcome(welcome) = decode::aggregator_message(welcome)? else {
            bail!("something else in answer to hello");
        };
        self.counts.streams.fetch_add(1, Ordering::Relaxed);
        let known = run_first + welcome.acknowledged.0;
        if !std::mem::take(&mut self.is_deaf) {
            self.hear(known);
        }
        let next = self.acknowledged;
        Ok(Some(Stream {
            messages,
            answers,
            builder: Builder::new(),
            packer: Packer::new(),
            run_first,
            run_end,
            next,
            is_first: true,
        }))
    }

    fn hear(&mut self, acknowledged: u64) {
        self.acknowledged = self.acknowledged.max(acknowledged);
        if let Some(count) =
            usize::try_from(self.node).ok().and_then(|node| self.counts.acknowledged.get(node))
        {
            count.store(self.acknowledged, Ordering::Relaxed);
        }
    }

    /// Sends and hears until the stream breaks, or its run is delivered.
    async fn deliver(&mut self, stream: &mut Stream) -> anyhow::Result<()> {
        while self.acknowledged < stream.run_end {
            match self.event(stream).await? {
                Event::Fate(fate) => {
                    self.suffer(fate, stream.run_first);
                    return Ok(());
                }
                Event::Broken => return Ok(()),
                Event::Answer(answer) => {
                    let AggregatorMessage::Ack(sequence) = decode::aggregator_message(answer)?
                    else {
                        continue;
                    };
                    let acknowledged = stream.run_first + sequence.0;
                    if stream.next < acknowledged {
                        bail!("{acknowledged} acknowledged, {} sent", stream.next);
                    }
                    self.hear(acknowledged);
                }
                Event::MaySend => self.send(stream).await?,
                Event::Measured => (),
            }
        }
        Ok(())
    }

    async fn event(&mut self, stream: &mut Stream) -> anyhow::Result<Event> {
        let measured = *self.schedule.measured.borrow_and_update();
        let ahead = (self.acknowledged + AHEAD).min(stream.run_end).min(measured);
        let (may_send, is_idle) = (stream.next < ahead, measured <= stream.next);
        Ok(tokio::select! {
            fate = self.fates.recv() => Event::Fate(fate.context("nobody decides")?),
            changed = self.schedule.connected.wait_for(|connected| !connected) => {
                changed?;
                Event::Broken
            }
            answer = stream.answers.message() => match answer {
                Ok(Some(answer)) => Event::Answer(answer),
                _ => Event::Broken,
            },
            permit = stream.messages.reserve_many(2), if may_send => match permit {
                Ok(_) => Event::MaySend,
                Err(_) => Event::Broken,
            },
            changed = self.schedule.measured.changed(), if is_idle => {
                changed?;
                Event::Measured
            }
        })
    }

    /// There is room for two messages. That the stream broke meanwhile is found out by who hears.
    async fn send(&self, stream: &mut Stream) -> anyhow::Result<()> {
        for message in self.next(stream)? {
            stream.messages.send(encode::agent_message(message)).await.ok();
        }
        stream.is_first = false;
        stream.next += 1;
        self.counts.sent.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Declarations, if there are any, and the frame.
    fn next(&self, stream: &mut Stream) -> anyhow::Result<Vec<AgentMessage>> {
        let Stream { builder, packer, run_first, next: place, is_first, .. } = stream;
        let (place, run_first, is_first) = (*place, *run_first, *is_first);
        let said = self.cluster.declarations(self.node, place, is_first)?;
        let mut columns = Vec::new();
        packer.pack(self.cluster.values(self.node, place, builder)?, &mut columns);
        let frame = PackedFrame {
            sequence: Sequence(place - run_first + 1),
            tick: self.cluster.tick(place),
            columns: Bytes::from(columns),
        };
        let said = Some(said).filter(|said| !said.is_empty()).map(AgentMessage::Declarations);
        Ok(said.into_iter().chain([AgentMessage::Frame(frame)]).collect())
    }

    fn suffer(&mut self, fate: Fate, run_first: u64) {
        match fate {
            Fate::Cut => (),
            Fate::Deaf => {
                let unheard = self.random.below(80);
                self.acknowledged = self.acknowledged.saturating_sub(unheard).max(run_first);
                self.is_deaf = true;
            }
            Fate::Restarted => {
                let measured = *self.schedule.measured.borrow();
                let newest = self.runs.back().map_or(0, |(_, first)| *first);
                if newest < measured && measured < self.cluster.ticks() {
                    self.runs.push_back((Run(self.random.bits()), measured));
                }
            }
        }
    }
}

//! One node's stream to the aggregator, with what was sent and acknowledged counted.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tally_proto::{
    decode, encode,
    message::{AgentMessage, AggregatorMessage, Declarations, Hello, Sequence},
    tick::Tick,
    wire::{self, ingest_client::IngestClient},
};
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tonic::{Status, Streaming, transport::Endpoint};

use super::{clock::Clock, node::Said, punctuality::Due};

/// Messages between a node and its connection: with more than one, gRPC would put several of them
/// into one large buffer.
const QUEUE: usize = 1;

/// Entities of one message. The receiver keeps a buffer as large as the largest message that it
/// ever got, for as long as the connection lasts.
const ENTITIES_PER_MESSAGE: usize = 24;

/// What all nodes sent and what of it was acknowledged.
#[derive(Debug, Default)]
pub struct Counts {
    /// Frames sent.
    pub frames: AtomicU64,
    /// Values in them.
    pub samples: AtomicU64,
    /// Bytes of their columns.
    pub bytes: AtomicU64,
    /// Frames acknowledged.
    pub frames_acknowledged: AtomicU64,
    /// Values in these.
    pub samples_acknowledged: AtomicU64,
}

/// The newest reading of a node: its tick, and when it left.
pub type LastRead = Option<(Tick, Duration)>;

/// Where a node tells which tick it sent last, if anybody wants to know.
pub type Watched = Option<watch::Sender<LastRead>>;

/// A stream that failed.
#[derive(Debug, thiserror::Error)]
pub enum UplinkError {
    /// No connection.
    #[error("cannot connect to the aggregator")]
    Connect(#[from] tonic::transport::Error),
    /// The aggregator ended the stream.
    #[error("the aggregator refused the stream: {}", .0.message())]
    Refused(#[from] Box<Status>),
    /// It ended without a reason, or with an answer that is none.
    #[error("the stream ended unasked")]
    Ended,
}

/// What a node says at one tick, ready to be sent.
#[derive(Clone, Debug)]
pub struct Message {
    declarations: Vec<wire::AgentMessage>,
    frame: wire::AgentMessage,
    sequence: Sequence,
    tick: Tick,
    samples: u64,
    bytes: u64,
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        let Said { declarations, frame, samples, .. } = said;
        Self {
            declarations: declarations
                .into_iter()
                .flat_map(in_parts)
                .map(|said| encode::agent_message(AgentMessage::Declarations(said)))
                .collect(),
            sequence: frame.sequence,
            tick: frame.tick,
            bytes: u64::try_from(frame.columns.len()).unwrap_or(u64::MAX),
            frame: encode::agent_message(AgentMessage::Frame(frame)),
            samples,
        }
    }
}

/// Entities in their order, so that pods stay before their containers, and all else first.
fn in_parts(said: Declarations) -> Vec<Declarations> {
    let Declarations { entities, columns, retired } = said;
    let mut parts = vec![Declarations { entities: Vec::new(), columns, retired }];
    parts.extend(
        entities.chunks(ENTITIES_PER_MESSAGE).map(|entities| Declarations {
            entities: entities.to_vec(),
            ..Declarations::default()
        }),
    );
    parts
}

/// One message on its way into gRPC.
#[derive(Debug)]
struct Outgoing {
    message: wire::AgentMessage,
    /// Of a frame: its tick and when it was due.
    frame: Option<(Tick, Option<Due>)>,
}

/// What gRPC takes messages from. It looks at the clock when a frame is taken: before that, the
/// frame has waited here for the player's own CPU time.
struct Outbound {
    queue: mpsc::Receiver<Outgoing>,
    clock: Clock,
    watched: Watched,
}

impl Stream for Outbound {
    type Item = wire::AgentMessage;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Poll::Ready(next) = self.queue.poll_recv(context) else { return Poll::Pending };
        let Some(Outgoing { message, frame }) = next else { return Poll::Ready(None) };
        if let Some((tick, due)) = frame {
            if let Some(due) = due {
                due.sent(self.clock.since(due.at));
            }
            if let Some(watched) = &self.watched {
                watched.send_replace(Some((tick, self.clock.elapsed())));
            }
        }
        Poll::Ready(Some(message))
    }
}

/// An open stream.
#[derive(Debug)]
pub struct Uplink {
    outbound: mpsc::Sender<Outgoing>,
    inbound: Streaming<wire::AggregatorMessage>,
    pending: VecDeque<Pending>,
    counts: Arc<Counts>,
    clock: Clock,
}

/// A frame that was not acknowledged.
#[derive(Debug)]
struct Pending {
    sequence: Sequence,
    samples: u64,
    due: Option<Due>,
}

/// What all streams share.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// Where they go.
    pub endpoint: Endpoint,
    /// Where they are counted.
    pub counts: Arc<Counts>,
    /// What times them.
    pub clock: Clock,
}

impl Uplink {
    /// Connects and says hello.
    pub async fn open(
        exchange: &Exchange,
        hello: Hello,
        watched: Watched,
    ) -> Result<Self, UplinkError> {
        let Exchange { endpoint, counts, clock } = exchange.clone();
        let channel = endpoint.connect().await?;
        let (outbound, queue) = mpsc::channel(QUEUE);
        let hello = encode::agent_message(AgentMessage::Hello(hello));
        let hello = Outgoing { message: hello, frame: None };
        outbound.send(hello).await.map_err(|_| UplinkError::Ended)?;
        let mut client = IngestClient::new(channel);
        let queue = Outbound { queue, clock, watched };
        let inbound = client.stream(queue).await.map_err(Box::new)?.into_inner();
        Ok(Self { outbound, inbound, pending: VecDeque::new(), counts, clock })
    }

    /// Sends one tick; `due` when it is counted how late it is.
    pub async fn send(&mut self, message: Message, due: Option<Due>) -> Result<(), UplinkError> {
        let Message { declarations, frame, sequence, tick, samples, bytes } = message;
        self.pending.push_back(Pending { sequence, samples, due: due.clone() });
        let declarations =
            declarations.into_iter().map(|message| Outgoing { message, frame: None });
        let frame = Outgoing { message: frame, frame: Some((tick, due)) };
        for outgoing in declarations.chain([frame]) {
            if self.outbound.send(outgoing).await.is_err() {
                return Err(self.reason().await);
            }
        }
        self.counts.frames.fetch_add(1, Ordering::Relaxed);
        self.counts.samples.fetch_add(samples, Ordering::Relaxed);
        self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Takes one answer.
    pub async fn receive(&mut self) -> Result<(), UplinkError> {
        let answer = self.inbound.message().await.map_err(Box::new)?.ok_or(UplinkError::Ended)?;
        let answer = decode::aggregator_message(answer).map_err(|_| UplinkError::Ended)?;
        if let AggregatorMessage::Ack(acknowledged) = answer {
            while let Some(frame) =
                self.pending.pop_front_if(|frame| frame.sequence <= acknowledged)
            {
                self.counts.frames_acknowledged.fetch_add(1, Ordering::Relaxed);
                self.counts.samples_acknowledged.fetch_add(frame.samples, Ordering::Relaxed);
                if let Some(due) = frame.due {
                    due.acknowledged(self.clock.since(due.at));
                }
            }
        }
        Ok(())
    }

    /// Waits until everything sent is acknowledged.
    pub async fn settle(&mut self) -> Result<(), UplinkError> {
        while !self.pending.is_empty() {
            self.receive().await?;
        }
        Ok(())
    }

    /// Says that nothing more comes, and waits until everything is acknowledged.
    pub async fn finish(mut self) -> Result<(), UplinkError> {
        let (nothing_more, _) = mpsc::channel(QUEUE);
        self.outbound = nothing_more;
        self.settle().await
    }

    /// Breaks the connection, whatever is under way.
    pub fn cut(self) {
        for due in self.pending.iter().filter_map(|frame| frame.due.as_ref()) {
            due.unheard();
        }
    }

    /// Why nothing can be sent any longer.
    async fn reason(&mut self) -> UplinkError {
        loop {
            if let Err(reason) = self.receive().await {
                return reason;
            }
        }
    }
}

//! One node's stream to the aggregator, with what was sent and acknowledged counted.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tally_proto::{
    decode, encode,
    message::{AgentMessage, AggregatorMessage, Declarations, Hello, Sequence},
    wire::{self, ingest_client::IngestClient},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Endpoint};

use super::node::Said;

/// Messages between a node and its connection: with more than one, gRPC would put several of them
/// into one large buffer.
const QUEUE: usize = 1;

/// Entities of one message. The receiver keeps a buffer as large as the largest message that it
/// ever got, for as long as the connection lasts.
const ENTITIES_PER_MESSAGE: usize = 8;

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
    samples: u64,
    bytes: u64,
}

impl From<Said> for Message {
    fn from(said: Said) -> Self {
        let Said { declarations, frame, samples } = said;
        Self {
            declarations: declarations
                .into_iter()
                .flat_map(in_parts)
                .map(|said| encode::agent_message(AgentMessage::Declarations(said)))
                .collect(),
            sequence: frame.sequence,
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

/// An open stream.
#[derive(Debug)]
pub struct Uplink {
    outbound: mpsc::Sender<wire::AgentMessage>,
    inbound: Streaming<wire::AggregatorMessage>,
    /// Frames that were not acknowledged, with their samples.
    pending: VecDeque<(Sequence, u64)>,
    counts: Arc<Counts>,
}

impl Uplink {
    /// Connects and says hello.
    pub async fn open(
        endpoint: &Endpoint,
        hello: Hello,
        counts: Arc<Counts>,
    ) -> Result<Self, UplinkError> {
        let channel = endpoint.connect().await?;
        let (outbound, queue) = mpsc::channel(QUEUE);
        let hello = encode::agent_message(AgentMessage::Hello(hello));
        outbound.send(hello).await.map_err(|_| UplinkError::Ended)?;
        let mut client = IngestClient::new(channel);
        let inbound =
            client.stream(ReceiverStream::new(queue)).await.map_err(Box::new)?.into_inner();
        Ok(Self { outbound, inbound, pending: VecDeque::new(), counts })
    }

    /// Sends one tick.
    pub async fn send(&mut self, message: Message) -> Result<(), UplinkError> {
        let Message { declarations, frame, sequence, samples, bytes } = message;
        self.pending.push_back((sequence, samples));
        for message in declarations.into_iter().chain([frame]) {
            if self.outbound.send(message).await.is_err() {
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
            while let Some((_, samples)) =
                self.pending.pop_front_if(|(sequence, _)| *sequence <= acknowledged)
            {
                self.counts.frames_acknowledged.fetch_add(1, Ordering::Relaxed);
                self.counts.samples_acknowledged.fetch_add(samples, Ordering::Relaxed);
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

    /// Why nothing can be sent any longer.
    async fn reason(&mut self) -> UplinkError {
        loop {
            if let Err(reason) = self.receive().await {
                return reason;
            }
        }
    }
}

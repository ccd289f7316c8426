//! One stream after the other: resting, opening, open. Says what happens as events.

use std::{collections::VecDeque, future::Future, pin::Pin, time::Duration};

use tally_proto::{
    decode::{self, BadMessage},
    encode,
    message::{AgentMessage, AggregatorMessage, Hello, Sequence, Welcome},
    wire::{self, ingest_client::IngestClient},
};
use tokio::{
    sync::mpsc::{self, Permit, error::SendError},
    time::{Sleep, sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming, transport::Endpoint};

use super::outage::Kind;

/// Messages between this task and the connection. More would only hide how far the aggregator is
/// behind; when full, frames wait in the outbox.
const SENDING: usize = 4;

/// Bytes of one answer: a welcome or an acknowledgement has under 30.
const ANSWER_BYTES_MAX: usize = 4096;

/// Time for an aggregator to acknowledge and to end a stream that this side has ended.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Time to connect, say hello and be welcomed.
const OPEN_WITHIN: Duration = Duration::from_secs(15);

/// A dead peer is noticed after these two together, without waiting for the kernel's minutes.
const PING_EVERY: Duration = Duration::from_secs(10);
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// For middle boxes that forget idle connections.
const TCP_KEEPALIVE: Duration = Duration::from_secs(30);

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("cannot connect")]
    Connect(#[source] tonic::transport::Error),
    #[error("the aggregator refuses ({:?}): {}", .0.code(), .0.message())]
    Status(Box<Status>),
    #[error("no welcome within {OPEN_WITHIN:?}")]
    Silent,
    #[error("the aggregator closed the stream")]
    Closed,
    #[error("the aggregator's message is not valid")]
    BadMessage(#[from] BadMessage),
    #[error("the aggregator welcomes out of turn")]
    OutOfTurn,
}

impl Failure {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Connect(_) => Kind::Unreachable,
            Self::Silent => Kind::Silent,
            Self::Closed => Kind::Closed,
            Self::Status(status) => Kind::Status(status.code()),
            Self::BadMessage(_) | Self::OutOfTurn => Kind::NotUnderstood,
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Status(Box::new(status))
    }
}

/// What happened.
pub(super) enum Event {
    /// The wait after a failure is over.
    Rested,
    /// A stream stands.
    Welcomed(Welcome),
    /// There is room for one more frame.
    Room,
    /// Frames up to this one are counted.
    Acknowledged(Sequence),
    /// The stream has lived long.
    Settled,
    /// The stream that was closed has ended.
    Ended,
    /// There is no stream any more.
    Failed(Failure),
}

type Opening = Pin<Box<dyn Future<Output = Result<(Stream, Welcome), Failure>> + Send>>;

/// The way to the aggregator.
pub(super) enum Link {
    /// Waiting after a failure.
    Resting(Pin<Box<Sleep>>),
    /// Connecting, and waiting for the welcome.
    Opening(Opening),
    /// Welcomed.
    Open(Box<Stream>),
}

/// An open stream.
pub(super) struct Stream {
    /// What was said but had no room yet: the rest of one frame's messages.
    unsaid: VecDeque<AgentMessage>,
    /// `None` when this side has ended.
    sending: Option<mpsc::Sender<wire::AgentMessage>>,
    heard: Streaming<wire::AggregatorMessage>,
    settled: Option<Pin<Box<Sleep>>>,
    /// Set when this side is to end: how long to wait for the other side's.
    closing: Option<Pin<Box<Sleep>>>,
}

impl Link {
    /// Begins to connect.
    pub(super) fn open(endpoint: Endpoint, hello: Hello, settled_after: Duration) -> Self {
        let opening = open(endpoint, hello, settled_after);
        Self::Opening(Box::pin(async {
            timeout(OPEN_WITHIN, opening).await.unwrap_or(Err(Failure::Silent))
        }))
    }

    /// The next event. Nothing is lost when it is not waited for to the end.
    pub(super) async fn event(&mut self, may_send: bool) -> Event {
        match self {
            Self::Resting(rest) => {
                rest.await;
                Event::Rested
            }
            Self::Opening(opening) => match opening.await {
                Ok((stream, welcome)) => {
                    *self = Self::Open(Box::new(stream));
                    Event::Welcomed(welcome)
                }
                Err(failure) => Event::Failed(failure),
            },
            Self::Open(stream) => stream.event(may_send).await,
        }
    }

    /// Says something as soon as there is room. Without a stream there is nobody to say it to.
    pub(super) fn say(&mut self, messages: impl IntoIterator<Item = AgentMessage>) {
        if let Self::Open(stream) = self {
            stream.unsaid.extend(messages);
        }
    }

    /// Ends this side of an open stream once everything is said. The other side acknowledges what
    /// it has counted, and ends too.
    pub(super) fn close(&mut self) {
        if let Self::Open(stream) = self
            && stream.closing.is_none()
        {
            stream.closing = Some(Box::pin(sleep(CLOSE_WITHIN)));
        }
    }

    /// Whether there is, or was until a moment ago, somebody to refuse a frame.
    pub(super) fn is_welcomed(&self) -> bool {
        matches!(self, Self::Open(_))
    }

    /// Whether frames may be said.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Open(stream) if stream.closing.is_none())
    }
}

impl Stream {
    async fn event(&mut self, may_send: bool) -> Event {
        let is_closing = self.closing.is_some();
        let may_send = may_send && !is_closing;
        loop {
            if is_closing && self.unsaid.is_empty() {
                self.sending = None;
            }
            tokio::select! {
                heard = self.heard.message() => {
                    if let Some(event) = self.answer(heard) {
                        return event;
                    }
                }
                permit = reserve(self.sending.as_ref()), if may_send || !self.unsaid.is_empty() => {
                    match (permit, self.unsaid.pop_front()) {
                        (Ok(permit), Some(message)) => permit.send(encode::agent_message(message)),
                        (Ok(_), None) => return Event::Room,
                        // The answer says why.
                        (Err(SendError(())), _) => {
                            let heard = self.heard.message().await;
                            if let Some(event) = self.answer(heard) {
                                return event;
                            }
                        }
                    }
                }
                () = elapsed(&mut self.settled), if self.settled.is_some() => {
                    self.settled = None;
                    return Event::Settled;
                }
                () = elapsed(&mut self.closing), if is_closing => return Event::Ended,
            }
        }
    }

    fn answer(&self, heard: Result<Option<wire::AggregatorMessage>, Status>) -> Option<Event> {
        match heard {
            Ok(None) if self.closing.is_some() => Some(Event::Ended),
            heard => answer(heard),
        }
    }
}

/// Waits for room; without a sender for ever.
async fn reserve(
    sending: Option<&mpsc::Sender<wire::AgentMessage>>,
) -> Result<Permit<'_, wire::AgentMessage>, SendError<()>> {
    match sending {
        Some(sending) => sending.reserve().await,
        None => std::future::pending().await,
    }
}

/// What an answer means; nothing for one that only newer versions know.
fn answer(heard: Result<Option<wire::AggregatorMessage>, Status>) -> Option<Event> {
    match decoded(heard) {
        Ok(AggregatorMessage::Ack(sequence)) => Some(Event::Acknowledged(sequence)),
        Ok(AggregatorMessage::Welcome(_)) => Some(Event::Failed(Failure::OutOfTurn)),
        Ok(AggregatorMessage::Unknown) => None,
        Err(failure) => Some(Event::Failed(failure)),
    }
}

fn decoded(
    heard: Result<Option<wire::AggregatorMessage>, Status>,
) -> Result<AggregatorMessage, Failure> {
    Ok(decode::aggregator_message(heard?.ok_or(Failure::Closed)?)?)
}

async fn open(
    endpoint: Endpoint,
    hello: Hello,
    settled_after: Duration,
) -> Result<(Stream, Welcome), Failure> {
    let channel = endpoint.connect().await.map_err(Failure::Connect)?;
    let mut client = IngestClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX);
    let (sending, to_send) = mpsc::channel(SENDING);
    let hello = encode::agent_message(AgentMessage::Hello(hello));
    if sending.try_send(hello).is_err() {
        return Err(Failure::Closed);
    }
    let mut heard = client.stream(ReceiverStream::new(to_send)).await?.into_inner();
    match decoded(heard.message().await)? {
        AggregatorMessage::Welcome(welcome) => {
            let settled = Some(Box::pin(sleep(settled_after)));
            let (unsaid, sending) = (VecDeque::new(), Some(sending));
            Ok((Stream { unsaid, sending, heard, settled, closing: None }, welcome))
        }
        AggregatorMessage::Ack(_) | AggregatorMessage::Unknown => Err(Failure::OutOfTurn),
    }
}

/// Adds what every connection needs: no delay for small frames, and notice of a dead peer.
pub(super) fn kept_alive(endpoint: Endpoint) -> Endpoint {
    endpoint
        .tcp_nodelay(true)
        .tcp_keepalive(Some(TCP_KEEPALIVE))
        .http2_keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PONG_WITHIN)
        .keep_alive_while_idle(true)
}

/// When a timer that is set ends.
pub(super) async fn elapsed(timer: &mut Option<Pin<Box<Sleep>>>) {
    match timer {
        Some(timer) => timer.await,
        None => std::future::pending().await,
    }
}

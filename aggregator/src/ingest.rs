//! The gRPC edge: streams of agents in, acknowledgements out.
//!
//! One stream is one `Session`; the answer's stream drives it, so that nothing is spawned and a
//! client that goes away takes everything of its stream with it. A bad message ends its own
//! stream with a status that names the field, is counted, and touches nobody else.

mod pending;
mod session;
mod status;

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{FutureExt, Stream, stream};
use tally_proto::{encode, message::AggregatorMessage, wire};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    admission::Rules,
    clock::Clock,
    model::Model,
    self_metrics::{Refusal, SelfMetrics},
};
use pending::Pending;
use session::{Reply, Session};

/// What all streams share.
#[derive(Debug)]
pub struct Shared {
    model: Arc<Model>,
    rules: Rules,
    streams_most: usize,
    streams: AtomicUsize,
    metrics: SelfMetrics,
    clock: Clock,
}

/// The service `tally.v1.Ingest`.
#[derive(Clone, Debug)]
pub struct IngestService(Arc<Shared>);

impl IngestService {
    /// Takes frames into `model` by `rules`, from at most `streams_most` streams at once.
    pub fn new(
        model: Arc<Model>,
        rules: Rules,
        streams_most: usize,
        metrics: SelfMetrics,
        clock: Clock,
    ) -> Self {
        let streams = AtomicUsize::new(0);
        Self(Arc::new(Shared { model, rules, streams_most, streams, metrics, clock }))
    }
}

/// One of the streams that are open; gives its place back when it ends, however it ends.
#[derive(Debug)]
struct OpenStream(Arc<Shared>);

impl OpenStream {
    fn open(shared: &Arc<Shared>) -> Result<Self, Status> {
        let most = shared.streams_most;
        if most <= shared.streams.fetch_add(1, Ordering::Relaxed) {
            shared.streams.fetch_sub(1, Ordering::Relaxed);
            shared.metrics.streams_refused.get_or_create(&Refusal { reason: "streams" }).inc();
            return Err(Status::resource_exhausted(format!(
                "{most} streams are open, which is the limit (--max-streams)"
            )));
        }
        shared.metrics.streams_open.inc();
        Ok(Self(Arc::clone(shared)))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.streams_open.dec();
    }
}

type Answers = Pin<Box<dyn Stream<Item = Result<wire::AggregatorMessage, Status>> + Send>>;

#[tonic::async_trait]
impl wire::ingest_server::Ingest for IngestService {
    type StreamStream = Answers;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Answers>, Status> {
        let open = OpenStream::open(&self.0)?;
        let talk = Talk {
            inbound: request.into_inner(),
            session: Session::new(Arc::clone(&self.0)),
            pending: Pending::default(),
            ended: false,
            _open: open,
        };
        let answers = stream::unfold(talk, |mut talk| async move {
            let answer = talk.next_answer().await?;
            Some((answer, talk))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// A stream's two directions.
struct Talk {
    inbound: Streaming<wire::AgentMessage>,
    session: Session,
    pending: Pending,
    ended: bool,
    _open: OpenStream,
}

impl Talk {
    /// Takes messages until there is something to answer. Frames that are there already are
    /// taken before they are acknowledged, together.
    async fn next_answer(&mut self) -> Option<Result<wire::AggregatorMessage, Status>> {
        while !self.ended {
            let message = match self.pending.wait(self.session.elapsed()) {
                None => self.inbound.message().await,
                Some(_) if self.pending.is_full() => return self.acknowledge(),
                Some(Duration::ZERO) => match self.inbound.message().now_or_never() {
                    Some(message) => message,
                    None => return self.acknowledge(),
                },
                Some(wait) => match timeout(wait, self.inbound.message()).await {
                    Ok(message) => message,
                    Err(_) => return self.acknowledge(),
                },
            };
            let message = match message {
                Ok(Some(message)) => message,
                Ok(None) => {
                    self.ended = true;
                    break;
                }
                // A message that is too large or no message at all; or a connection that broke,
                // and then nobody hears this.
                Err(status) => {
                    self.ended = true;
                    self.session.count_undecodable(&status);
                    return Some(Err(status));
                }
            };
            match self.session.take(message) {
                Ok(Reply::None) => (),
                Ok(Reply::Welcome(welcome)) => {
                    return Some(Ok(encode::aggregator_message(AggregatorMessage::Welcome(
                        welcome,
                    ))));
                }
                Ok(Reply::Counted(frame)) => self.session.wait_for_more(&mut self.pending, frame),
                Err(status) => {
                    self.ended = true;
                    return Some(Err(status));
                }
            }
        }
        self.acknowledge()
    }

    fn acknowledge(&mut self) -> Option<Result<wire::AggregatorMessage, Status>> {
        let sequence = self.pending.take()?;
        self.session.count_ack();
        Some(Ok(encode::aggregator_message(AggregatorMessage::Ack(sequence))))
    }
}

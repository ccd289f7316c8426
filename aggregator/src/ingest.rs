//! The gRPC edge: streams of agents in, acknowledgements out.
//!
//! One stream is one `Session`; the answer's stream drives it, so that nothing is spawned and a
//! client that goes away takes everything of its stream with it. A bad message ends its own
//! stream with a status that names the field, is counted, and touches nobody else.

#[cfg(test)]
mod healing;
mod pending;
mod record;
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
use tally_proto::{
    encode,
    message::{AggregatorMessage, Sequence, Welcome},
    wire,
};
use tokio::{
    sync::watch,
    time::{Sleep, sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    admission::Rules,
    clock::Clock,
    journal::{Journal, Position},
    model::Model,
    self_metrics::{Refusal, SelfMetrics},
};
use pending::{Outlook, Pending};
use session::{Reply, Session};

/// What all streams share.
#[derive(Debug)]
pub struct Shared {
    model: Arc<Model>,
    journal: Option<Arc<Journal>>,
    durable: watch::Receiver<Position>,
    rules: Rules,
    streams_most: usize,
    streams: AtomicUsize,
    metrics: SelfMetrics,
    clock: Clock,
    /// Cancelled when a frame shows that the clock was set back.
    clock_set_back: CancellationToken,
}

/// Where frames are kept: the journal, and how far it is durable.
pub type Keeping = (Arc<Journal>, watch::Receiver<Position>);

/// The service `tally.v1.Ingest`.
#[derive(Clone, Debug)]
pub struct IngestService(Arc<Shared>);

impl IngestService {
    /// Takes frames into `model` by `rules`, from at most `streams_most` streams at once. Without
    /// `keeping` a frame is acknowledged when it is counted. Cancels the token when the clock was set
    /// back so far that the model takes nothing that is measured from then on.
    pub fn new(
        model: Arc<Model>,
        keeping: Option<Keeping>,
        (rules, streams_most): (Rules, usize),
        metrics: SelfMetrics,
        (clock, clock_set_back): (Clock, CancellationToken),
    ) -> Self {
        let streams = AtomicUsize::new(0);
        let (journal, durable) = match keeping {
            Some((journal, durable)) => (Some(journal), durable),
            None => (None, watch::channel(Position(0)).1),
        };
        Self(Arc::new(Shared {
            model,
            journal,
            durable,
            rules,
            streams_most,
            streams,
            metrics,
            clock,
            clock_set_back,
        }))
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
            durable: self.0.durable.clone(),
            patience: None,
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
    durable: watch::Receiver<Position>,
    /// Runs while frames are pending whose sender can wait.
    patience: Option<Pin<Box<Sleep>>>,
    ended: bool,
    _open: OpenStream,
}

/// How long a stream's beginning and end wait for what was said before to be durable. A disk that
/// takes longer than this is in trouble, and then the agent sends again what it was not told of.
const DURABLE_WAIT: Duration = Duration::from_secs(1);

impl Talk {
    /// Takes messages until there is something to answer. Frames that are there already are
    /// taken before they are acknowledged, together.
    async fn next_answer(&mut self) -> Option<Result<wire::AggregatorMessage, Status>> {
        while !self.ended {
            if let Some(status) = self.session.resend() {
                self.ended = true;
                return Some(Err(status));
            }
            let durable = *self.durable.borrow();
            let message = match self.pending.outlook(durable) {
                Outlook::Due { at_once: true } => return self.acknowledge(durable),
                Outlook::Due { at_once: false } => match self.inbound.message().now_or_never() {
                    Some(message) => message,
                    None => return self.acknowledge(durable),
                },
                outlook => match self.more(outlook).await {
                    Some(message) => message,
                    None => continue,
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
                Ok(Reply::None | Reply::Unrecorded) => (),
                Ok(Reply::Welcome(welcome, position, patience)) => {
                    self.pending = Pending::new(patience);
                    return Some(Ok(self.welcome(welcome, position).await));
                }
                Ok(Reply::Counted(frame)) => {
                    self.pending.add(frame);
                    self.be_patient();
                }
                Err(status) => {
                    self.ended = true;
                    return Some(Err(status));
                }
            }
        }
        self.acknowledge_last().await
    }

    /// The next message; `None` when what was waited for has come instead.
    async fn more(
        &mut self,
        outlook: Outlook,
    ) -> Option<Result<Option<wire::AgentMessage>, Status>> {
        // There is room again once the disk has taken something.
        let needs_disk = outlook == Outlook::NotDurable || self.session.is_missing();
        tokio::select! {
            message = self.inbound.message() => Some(message),
            Ok(()) = self.durable.changed(), if needs_disk => None,
            () = over(&mut self.patience), if self.patience.is_some() => {
                self.patience = None;
                self.pending.hurry();
                None
            }
        }
    }

    /// Lets the time run for which the sender of what is pending can wait.
    fn be_patient(&mut self) {
        let patience = self.pending.patience();
        if self.patience.is_none() && patience.is_any() && !self.pending.is_empty() {
            self.patience = Some(Box::pin(sleep(patience.within)));
        }
    }

    /// Says what need not be sent again, which is what is durable.
    async fn welcome(&mut self, welcome: Welcome, position: Position) -> wire::AggregatorMessage {
        let durable = self.durable.wait_for(|durable| position <= *durable);
        let welcome = match timeout(DURABLE_WAIT, durable).await {
            Ok(Ok(_)) => welcome,
            _ => Welcome { acknowledged: Sequence(0) },
        };
        encode::aggregator_message(AggregatorMessage::Welcome(welcome))
    }

    /// Acknowledges what is durable of what is pending.
    fn acknowledge(
        &mut self,
        durable: Position,
    ) -> Option<Result<wire::AggregatorMessage, Status>> {
        let sequence = self.pending.take(durable)?;
        self.patience = None;
        self.be_patient();
        self.session.count_ack();
        Some(Ok(encode::aggregator_message(AggregatorMessage::Ack(sequence))))
    }

    /// Acknowledges all that is pending, once it is durable.
    async fn acknowledge_last(&mut self) -> Option<Result<wire::AggregatorMessage, Status>> {
        let position = self.pending.position()?;
        let durable = self.durable.wait_for(|durable| position <= *durable);
        let durable = *timeout(DURABLE_WAIT, durable).await.ok()?.ok()?;
        self.acknowledge(durable)
    }
}

/// Ready when the time has passed; never where there is none.
async fn over(time: &mut Option<Pin<Box<Sleep>>>) {
    match time {
        Some(time) => time.await,
        None => std::future::pending().await,
    }
}

//! An aggregator on loopback that a test plays by hand.

use std::{collections::BTreeMap, net::SocketAddr};

use tally_proto::{
    columns::{Columns, unpack},
    declaration::{ColumnNumber, EntityDeclaration, EntityNumber},
    decode, encode,
    message::{
        AgentMessage, AggregatorMessage, Declarations, Hello, PackedFrame, Sequence, Welcome,
    },
    tick::Tick,
    wire::{self, ingest_server},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming, transport::Server};

/// What the only entity reports at a tick.
pub(crate) fn value_at(tick: Tick) -> i64 {
    tick.unix_ms().0 * 7
}

/// A real server whose streams the test plays itself. It lives in a runtime of its own, so that
/// it can die as a process does: every socket closed, nothing said.
pub(crate) struct Aggregator {
    runtime: Option<tokio::runtime::Runtime>,
    /// Held while the server is dead, so that no other test is given its port.
    listener: std::net::TcpListener,
    calls: mpsc::Receiver<Call>,
}

/// A stream that an agent asks for.
pub(crate) struct Call {
    inbound: Streaming<wire::AgentMessage>,
    pub(crate) answers: oneshot::Sender<Result<mpsc::Receiver<Answer>, Status>>,
}

pub(crate) type Answer = Result<wire::AggregatorMessage, Status>;

/// A stream that was granted, and what was understood on it.
pub(crate) struct Talk {
    pub(crate) hello: Option<Hello>,
    inbound: Streaming<wire::AgentMessage>,
    pub(crate) answers: mpsc::Sender<Answer>,
    entities: BTreeMap<EntityNumber, EntityDeclaration>,
    columns: Columns,
}

struct Service {
    calls: mpsc::Sender<Call>,
}

#[tonic::async_trait]
impl ingest_server::Ingest for Service {
    type StreamStream = ReceiverStream<Answer>;

    async fn stream(
        &self,
        request: Request<Streaming<wire::AgentMessage>>,
    ) -> Result<Response<Self::StreamStream>, Status> {
        let (answers, granted) = oneshot::channel();
        let call = Call { inbound: request.into_inner(), answers };
        self.calls.send(call).await.map_err(|_| Status::unavailable("the test is over"))?;
        let answers = granted.await.map_err(|_| Status::unavailable("not granted"))??;
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

impl Aggregator {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (_, no_calls) = mpsc::channel(1);
        let mut aggregator = Self { runtime: None, listener, calls: no_calls };
        aggregator.revive();
        aggregator
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    pub(crate) fn revive(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (calls_in, calls) = mpsc::channel(16);
        let listener = self.listener.try_clone().unwrap();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(TcpListener::from_std(listener).unwrap());
            let service = ingest_server::IngestServer::new(Service { calls: calls_in });
            Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        (self.runtime, self.calls) = (Some(runtime), calls);
    }

    /// Returns when every socket is closed.
    pub(crate) fn die(&mut self) {
        let runtime = self.runtime.take();
        std::thread::spawn(move || drop(runtime)).join().unwrap();
    }

    pub(crate) async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }

    /// Grants the next stream, and welcomes its agent.
    pub(crate) async fn welcome(&mut self, acknowledged: u64) -> Talk {
        let Call { inbound, answers } = self.call().await;
        let (answers_in, granted) = mpsc::channel(16);
        answers.send(Ok(granted)).unwrap();
        let mut talk = Talk {
            hello: None,
            inbound,
            answers: answers_in,
            entities: BTreeMap::new(),
            columns: Columns::default(),
        };
        match talk.next().await {
            Some(AgentMessage::Hello(hello)) => talk.hello = Some(hello),
            other => panic!("{other:?} is no hello"),
        }
        let acknowledged = Sequence(acknowledged);
        talk.answer(AggregatorMessage::Welcome(Welcome { acknowledged })).await;
        talk
    }
}

impl Drop for Aggregator {
    fn drop(&mut self) {
        self.die();
    }
}

impl Talk {
    pub(crate) async fn next(&mut self) -> Option<AgentMessage> {
        let message = self.inbound.message().await.ok()??;
        Some(decode::agent_message(message).unwrap())
    }

    /// The next frame's sequence and the life of its only entity; its value must be that of its tick.
    pub(crate) async fn frame(&mut self) -> Option<(u64, EntityDeclaration)> {
        loop {
            match self.next().await? {
                other @ (AgentMessage::Hello(_) | AgentMessage::Unknown) => {
                    panic!("{other:?} in the midst of a stream")
                }
                AgentMessage::Declarations(Declarations { entities, columns: _, retired }) => {
                    self.entities.retain(|number, _| !retired.contains(number));
                    self.entities.extend(entities.into_iter().map(|new| (new.number, new)));
                }
                AgentMessage::Frame(PackedFrame { sequence, tick, columns }) => {
                    unpack(&mut self.columns, &columns).unwrap();
                    let entity = EntityNumber(0);
                    let value = self.columns.get(entity, ColumnNumber(1)).unwrap();
                    assert_eq!(value, value_at(tick));
                    return Some((sequence.0, self.entities[&entity].clone()));
                }
            }
        }
    }

    pub(crate) async fn sequences<const COUNT: usize>(&mut self) -> [u64; COUNT] {
        let mut sequences = [0; COUNT];
        for sequence in &mut sequences {
            *sequence = self.frame().await.unwrap().0;
        }
        sequences
    }

    async fn answer(&self, message: AggregatorMessage) {
        // An agent that hung up hears nothing.
        drop(self.answers.send(Ok(encode::aggregator_message(message))).await);
    }

    pub(crate) async fn acknowledge(&self, sequence: u64) {
        self.answer(AggregatorMessage::Ack(Sequence(sequence))).await;
    }
}

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Mutex, PoisonError},
};

use tally_proto::{
    columns::{Builder, Columns, unpack},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    decode, encode,
    message::{AggregatorMessage, BootId, Declarations, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::NodeName,
    tick::{Resolution, Tick},
    wire::{self, ingest_server},
};
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};

use super::*;
use crate::handover::{Giver, handover};

const TINY: Policy = Policy {
    floor: Duration::from_millis(1),
    first: Duration::from_millis(2),
    ceiling: Duration::from_millis(10),
};

/// A wait that no test lives to see.
const NEVER: Policy = Policy {
    floor: Duration::from_secs(3600),
    first: Duration::from_secs(3600),
    ceiling: Duration::from_secs(3600),
};

/// A real server whose streams the test plays itself. It lives in a runtime of its own, so that
/// it can die as a process does: every socket closed, nothing said.
struct Aggregator {
    runtime: Option<tokio::runtime::Runtime>,
    /// Held while the server is dead, so that no other test is given its port.
    listener: std::net::TcpListener,
    calls: mpsc::Receiver<Call>,
}

/// A stream that an agent asks for.
struct Call {
    inbound: Streaming<wire::AgentMessage>,
    answers: oneshot::Sender<Result<mpsc::Receiver<Answer>, Status>>,
}

type Answer = Result<wire::AggregatorMessage, Status>;

/// A stream that was granted, and what was understood on it.
struct Talk {
    inbound: Streaming<wire::AgentMessage>,
    answers: mpsc::Sender<Answer>,
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
    fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (_, no_calls) = mpsc::channel(1);
        let mut aggregator = Self { runtime: None, listener, calls: no_calls };
        aggregator.revive();
        aggregator
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }

    fn revive(&mut self) {
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
    fn die(&mut self) {
        let runtime = self.runtime.take();
        std::thread::spawn(move || drop(runtime)).join().unwrap();
    }

    async fn call(&mut self) -> Call {
        self.calls.recv().await.unwrap()
    }

    /// Grants the next stream, and welcomes its agent.
    async fn welcome(&mut self, acknowledged: u64) -> Talk {
        let Call { inbound, answers } = self.call().await;
        let (answers_in, granted) = mpsc::channel(16);
        answers.send(Ok(granted)).unwrap();
        let mut talk = Talk {
            inbound,
            answers: answers_in,
            entities: BTreeMap::new(),
            columns: Columns::default(),
        };
        assert_eq!(talk.next().await, Some(AgentMessage::Hello(hello())));
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
    async fn next(&mut self) -> Option<AgentMessage> {
        let message = self.inbound.message().await.ok()??;
        Some(decode::agent_message(message).unwrap())
    }

    /// The next frame's sequence and the life and value of its only entity.
    async fn frame(&mut self) -> Option<(u64, EntityDeclaration, i64)> {
        loop {
            match self.next().await? {
                AgentMessage::Hello(hello) => panic!("{hello:?} in the midst of a stream"),
                AgentMessage::Declarations(Declarations { entities, columns: _, retired }) => {
                    self.entities.retain(|number, _| !retired.contains(number));
                    self.entities.extend(entities.into_iter().map(|new| (new.number, new)));
                }
                AgentMessage::Frame(PackedFrame { sequence, tick, columns }) => {
                    unpack(&mut self.columns, &columns).unwrap();
                    let entity = EntityNumber(0);
                    let value = self.columns.get(entity, ColumnNumber(1)).unwrap();
                    assert_eq!(value, i64::try_from(tick.0).unwrap() * 7);
                    return Some((sequence.0, self.entities[&entity].clone(), value));
                }
            }
        }
    }

    async fn sequences<const COUNT: usize>(&mut self) -> [u64; COUNT] {
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

    async fn acknowledge(&self, sequence: u64) {
        self.answer(AggregatorMessage::Ack(Sequence(sequence))).await;
    }
}

/// An agent without a host: the test is its sampling thread.
struct Agent {
    giver: Giver,
    uplink: JoinHandle<Leftover>,
    counters: Arc<Counters>,
    builder: Builder,
    next: u64,
}

impl Agent {
    fn start(aggregator: SocketAddr, change: impl FnOnce(&mut Options)) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{aggregator}")).unwrap();
        let limits = Limits { frames: 100, bytes: usize::MAX };
        let mut options = Options::new(endpoint, hello(), limits, || 1 << 63);
        (options.soon, options.slow) = (TINY, NEVER);
        change(&mut options);
        let counters = Arc::new(Counters::default());
        let (giver, taker) = handover(Arc::clone(&counters));
        let uplink = tokio::spawn(run(options, taker, Arc::clone(&counters)));
        Self { giver, uplink, counters, builder: Builder::new(), next: 1 }
    }

    /// Gives so many frames, of sequences from 1, and lets the uplink take them in.
    async fn give(&mut self, frames: u64) {
        for tick in self.next..self.next + frames {
            let value = i64::try_from(tick).unwrap() * 7;
            self.builder.set(EntityNumber(0), ColumnNumber(1), value);
            let declarations = if tick % 10 == 1 { meanings(tick) } else { Default::default() };
            self.giver.give(Tick(tick), declarations, self.builder.finish()).unwrap();
            while !self.giver.is_taken() {
                tokio::task::yield_now().await;
            }
        }
        self.next += frames;
    }

    async fn finish(self) -> Leftover {
        self.giver.finish().unwrap();
        self.uplink.await.unwrap()
    }
}

fn hello() -> Hello {
    Hello {
        node: NodeName::parse("node-a").unwrap(),
        boot: BootId([7; 16]),
        run: Run(42),
        resolution: Resolution::DEFAULT,
        agent_version: "0.1.0".to_owned(),
    }
}

/// The entity's life that begins at `tick`, and the column.
fn meanings(tick: u64) -> Declarations {
    let start = Some(Tick(tick).unix_ms());
    let entity = EntityDeclaration { number: EntityNumber(0), start, what: Declared::Node };
    let column = ColumnDeclaration {
        number: ColumnNumber(1),
        metric: MetricName::parse("cpu/usage").unwrap(),
        labels: Labels::default(),
        floating: false,
        cumulative: false,
    };
    Declarations { entities: vec![entity], columns: vec![column], retired: Vec::new() }
}

#[tokio::test]
async fn after_the_aggregator_died_exactly_what_it_does_not_acknowledge_is_sent_again() {
    let mut aggregator = Aggregator::start();
    let mut agent = Agent::start(aggregator.address(), |_| ());
    let mut talk = aggregator.welcome(0).await;
    agent.give(5).await;
    assert_eq!(talk.sequences().await, [1, 2, 3, 4, 5]);
    aggregator.die();
    agent.give(2).await;

    aggregator.revive();
    let mut talk = aggregator.welcome(3).await;
    assert_eq!(talk.sequences().await, [4, 5, 6, 7]);
    talk.acknowledge(7).await;
    assert_eq!(agent.finish().await, Leftover { frames: 0 });
}

#[tokio::test]
async fn what_is_acknowledged_is_not_sent_again() {
    let mut aggregator = Aggregator::start();
    let mut agent = Agent::start(aggregator.address(), |_| ());
    let mut talk = aggregator.welcome(0).await;
    agent.give(3).await;
    assert_eq!(talk.sequences().await, [1, 2, 3]);
    talk.acknowledge(2).await;
    // The end of the stream comes after the acknowledgement, which is heard by then.
    talk.answers.send(Err(Status::unavailable("stopping"))).await.unwrap();
    let mut talk = aggregator.welcome(0).await;
    assert_eq!(talk.sequences().await, [3]);
}

#[tokio::test]
async fn frames_ahead_of_their_acknowledgement_are_bounded() {
    let mut aggregator = Aggregator::start();
    let mut agent =
        Agent::start(aggregator.address(), |options| options.last_words = Duration::ZERO);
    let mut talk = aggregator.welcome(0).await;
    agent.give(70).await;
    assert_eq!(talk.sequences::<IN_FLIGHT_MAX>().await.last(), Some(&64));
    talk.acknowledge(2).await;
    assert_eq!(talk.sequences().await, [65, 66]);
    assert_eq!(agent.finish().await, Leftover { frames: 68 });
    assert_eq!(talk.frame().await, None);
}

#[tokio::test]
async fn an_aggregator_that_reads_nothing_delays_no_tick() {
    let mut aggregator = Aggregator::start();
    let mut agent =
        Agent::start(aggregator.address(), |options| options.last_words = Duration::ZERO);
    let _unread = aggregator.welcome(0).await;
    agent.give(1000).await;
    assert_eq!(agent.counters.frames_dropped.get(), 900);
    assert_eq!(agent.finish().await, Leftover { frames: 100 });
}

#[tokio::test]
async fn while_nobody_listens_the_newest_frames_are_kept_and_the_others_counted() {
    let mut aggregator = Aggregator::start();
    aggregator.die();
    let mut agent = Agent::start(aggregator.address(), |options| options.limits.frames = 3);
    agent.give(15).await;
    assert_eq!(agent.counters.frames_dropped.get(), 12);

    aggregator.revive();
    let mut talk = aggregator.welcome(0).await;
    let (sequence, entity, _) = talk.frame().await.unwrap();
    assert_eq!((sequence, entity), (13, meanings(11).entities[0].clone()));
    assert_eq!(talk.sequences().await, [14, 15]);
}

#[tokio::test]
async fn a_refused_connection_is_tried_again_and_counted() {
    // No test listens at this address, so the port stays free.
    let nobody = std::net::TcpListener::bind("127.0.0.9:0").unwrap().local_addr().unwrap();
    let agent = Agent::start(nobody, |_| ());
    while agent.counters.connections_failed.get() < 3 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn what_is_queued_when_the_agent_stops_is_delivered() {
    let mut aggregator = Aggregator::start();
    let mut agent = Agent::start(aggregator.address(), |_| ());
    agent.give(3).await;
    let finished = tokio::spawn(agent.finish());
    let mut talk = aggregator.welcome(0).await;
    assert_eq!(talk.sequences().await, [1, 2, 3]);
    talk.acknowledge(3).await;
    assert_eq!(talk.frame().await, None);
    assert_eq!(finished.await.unwrap(), Leftover { frames: 0 });
}

#[tokio::test]
async fn an_agent_that_rests_tries_once_more_before_it_stops() {
    let mut aggregator = Aggregator::start();
    let mut agent = Agent::start(aggregator.address(), |_| ());
    refuse(&mut aggregator, Code::FailedPrecondition).await;
    while agent.counters.connections_failed.get() == 0 {
        tokio::task::yield_now().await;
    }
    agent.give(1).await;
    let finished = tokio::spawn(agent.finish());
    let mut talk = aggregator.welcome(0).await;
    assert_eq!(talk.sequences().await, [1]);
    talk.acknowledge(1).await;
    assert_eq!(finished.await.unwrap(), Leftover { frames: 0 });
}

async fn refuse(aggregator: &mut Aggregator, code: Code) {
    let call = aggregator.call().await;
    assert!(call.answers.send(Err(Status::new(code, "hello.resolution_seconds is 15"))).is_ok());
}

/// How often each of the phrases was logged while `code` refused three times before a welcome.
async fn logged(code: Code, soon: Policy, slow: Policy, phrases: [&str; 3]) -> [usize; 3] {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let mut aggregator = Aggregator::start();
    let mut agent =
        Agent::start(aggregator.address(), |options| (options.soon, options.slow) = (soon, slow));
    for _ in 0..3 {
        refuse(&mut aggregator, code).await;
    }
    let mut talk = aggregator.welcome(0).await;
    agent.give(1).await;
    assert_eq!(talk.sequences().await, [1]);
    let text = String::from_utf8(log.lock().clone()).unwrap();
    phrases.map(|phrase| text.matches(phrase).count())
}

#[tokio::test]
async fn a_refusal_that_needs_a_person_is_retried_slowly_and_said_once() {
    let phrases = ["hello.resolution_seconds is 15", "the same --resolution", "delivering again"];
    for code in [Code::FailedPrecondition, Code::PermissionDenied] {
        let counts = logged(code, NEVER, TINY, phrases).await;
        assert_eq!(counts, [1, usize::from(code == Code::FailedPrecondition), 1]);
    }
}

#[tokio::test]
async fn a_refusal_that_may_end_by_itself_is_retried_soon_and_said_once() {
    let phrases = ["hello.resolution_seconds is 15", "needs a person", "failures=3"];
    for code in [Code::Unavailable, Code::ResourceExhausted, Code::AlreadyExists] {
        assert_eq!(logged(code, TINY, NEVER, phrases).await, [1, 0, 1]);
    }
}

/// What was logged.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl io::Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.lock().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// How a stream ends in the test below.
#[derive(Clone, Copy, Debug)]
enum End {
    Status,
    Silently,
    Death,
}

#[tokio::test]
async fn nothing_is_lost_or_changed_over_many_broken_streams() {
    let ends = [End::Status, End::Death, End::Silently, End::Death, End::Status, End::Death];
    let mut aggregator = Aggregator::start();
    let mut agent = Agent::start(aggregator.address(), |_| ());
    // By sequence, the life of the entity: what a durable aggregator has counted.
    let mut counted: BTreeMap<u64, EntityDeclaration> = BTreeMap::new();
    for (round, end) in (0u64..).zip(ends) {
        let known = u64::try_from(counted.len()).unwrap();
        let mut talk = aggregator.welcome(known - known.min(round % 3)).await;
        agent.give(9).await;
        for _ in 0..5 + round % 2 {
            let (sequence, entity, _) = talk.frame().await.unwrap();
            let before = counted.insert(sequence, entity.clone());
            assert!(before.is_none_or(|before| before == entity), "{end:?}");
            talk.acknowledge(sequence - sequence.min(round)).await;
        }
        match end {
            End::Status => drop(talk.answers.send(Err(Status::aborted("test"))).await),
            End::Silently => drop(talk),
            End::Death => {
                aggregator.die();
                aggregator.revive();
            }
        }
    }
    let mut talk = aggregator.welcome(0).await;
    while counted.len() < 9 * ends.len() {
        let (sequence, entity, _) = talk.frame().await.unwrap();
        counted.insert(sequence, entity);
    }
    talk.acknowledge(9 * 6).await;
    assert_eq!(agent.finish().await, Leftover { frames: 0 });
    for (expected, (sequence, entity)) in (1..).zip(&counted) {
        assert_eq!(*sequence, expected);
        assert_eq!(*entity, meanings(expected - (expected - 1) % 10).entities[0]);
    }
}

use std::{
    collections::BTreeMap,
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{Mutex, PoisonError},
};

use tally_proto::{
    columns::Builder,
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message::{BootId, Declarations, Run},
    metric::{Labels, MetricName},
    name::NodeName,
    tick::{Resolution, Tick},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tonic::{Code, Status};

use super::{
    loopback::{Aggregator, value_at},
    *,
};
use crate::{
    backlog::IN_FLIGHT_MAX,
    folder::{Folder, worker},
    handover::{Giver, handover},
    spool::disk::{Disk, SegmentNumber},
};

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
        Self::start_with(aggregator, None, change)
    }

    fn start_with(
        aggregator: SocketAddr,
        disk: Option<Worker>,
        change: impl FnOnce(&mut Options),
    ) -> Self {
        let endpoint = Endpoint::from_shared(format!("http://{aggregator}")).unwrap();
        let limits = Limits { frames: 100, bytes: usize::MAX };
        let mut options = Options::new(endpoint, hello(), limits, || 1 << 63);
        (options.soon, options.slow) = (TINY, NEVER);
        change(&mut options);
        let counters = Arc::new(Counters::default());
        let (giver, taker) = handover(Arc::clone(&counters));
        let uplink = tokio::spawn(run(options, taker, disk, Arc::clone(&counters)));
        Self { giver, uplink, counters, builder: Builder::new(), next: 1 }
    }

    /// Gives so many frames, of sequences from 1, and lets the uplink take them in.
    async fn give(&mut self, frames: u64) {
        for tick in self.next..self.next + frames {
            self.builder.set(EntityNumber(0), ColumnNumber(1), value_at(Tick(tick)));
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
        acknowledge_within: Duration::from_secs(5),
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
    assert_eq!(talk.hello, Some(hello()));
    assert_eq!(talk.sequences().await, [4, 5, 6, 7]);
    talk.acknowledge(7).await;
    assert_eq!(agent.finish().await, Leftover { lost: 0, spooled: 0 });
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
    assert_eq!(agent.finish().await, Leftover { lost: 68, spooled: 0 });
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
    assert_eq!(agent.finish().await, Leftover { lost: 100, spooled: 0 });
}

/// A disk that never answers.
struct Hanging(std::sync::mpsc::Receiver<()>);

impl Disk for Hanging {
    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        // Until the test is over.
        assert!(self.0.recv().is_err());
        Err(io::ErrorKind::TimedOut.into())
    }

    fn read(&mut self, _: SegmentNumber) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn append(&mut self, _: SegmentNumber, _: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn sync(&mut self, _: SegmentNumber) -> io::Result<()> {
        Err(io::ErrorKind::TimedOut.into())
    }

    fn remove(&mut self, _: SegmentNumber) -> io::Result<()> {
        Err(io::ErrorKind::TimedOut.into())
    }
}

#[tokio::test]
async fn a_disk_that_hangs_delays_neither_ticks_nor_delivery() {
    let (_until_the_end, hangs) = std::sync::mpsc::channel();
    let (worker, work) = worker(Hanging(hangs));
    std::thread::spawn(work);
    let mut aggregator = Aggregator::start();
    let mut agent = Agent::start_with(aggregator.address(), Some(worker), |options| {
        options.spool = Some(spool::Limits { bytes: 1 << 20, age_s: 60, segment_bytes: 1 << 10 });
        options.settle_within = Duration::from_millis(1);
    });
    agent.give(5).await;
    let mut talk = aggregator.welcome(0).await;
    assert_eq!(talk.sequences().await, [1, 2, 3, 4, 5]);
    assert_eq!(agent.counters.frames_dropped.get(), 0);
}

#[tokio::test]
async fn what_an_earlier_run_left_goes_first_on_a_stream_of_its_own() {
    let place = tempfile::tempdir().unwrap();
    let mut aggregator = Aggregator::start();
    let address = aggregator.address();
    let start = |run: u64| {
        let (worker, work) = worker(Folder::new(place.path().to_owned()));
        let disk = std::thread::spawn(work);
        let agent = Agent::start_with(address, Some(worker), |options| {
            options.spool =
                Some(spool::Limits { bytes: 1 << 20, age_s: 60, segment_bytes: 1 << 10 });
            options.hello.run = Run(run);
            options.last_words = Duration::from_millis(if run == 1 { 1 } else { 60_000 });
        });
        (agent, disk)
    };
    aggregator.die();
    let (mut first, disk) = start(1);
    first.give(5).await;
    assert_eq!(first.finish().await, Leftover { lost: 0, spooled: 5 });
    disk.join().unwrap();

    aggregator.revive();
    let (mut second, _disk) = start(2);
    second.next = 11;
    second.give(2).await;
    let mut talk = aggregator.welcome(3).await;
    // What catches up goes on with each acknowledgement.
    let catching_up = Hello { run: Run(1), acknowledge_within: Duration::ZERO, ..hello() };
    assert_eq!(talk.hello, Some(catching_up));
    // The segment goes as it is, and what is counted already is known.
    assert_eq!(talk.sequences().await, [1, 2, 3, 4, 5]);
    talk.acknowledge(5).await;
    assert_eq!(talk.frame().await, None);
    drop(talk);
    let mut talk = aggregator.welcome(0).await;
    assert_eq!(talk.hello, Some(Hello { run: Run(2), ..hello() }));
    assert_eq!(talk.sequences().await, [1, 2]);
    talk.acknowledge(2).await;
    let finished = tokio::spawn(second.finish());
    while talk.frame().await.is_some() {}
    assert_eq!(finished.await.unwrap(), Leftover::default());
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "the lock alone");
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
    let (sequence, entity) = talk.frame().await.unwrap();
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

/// As when the pod behind a service's address is gone: a listener whose queue is full answers nobody.
#[tokio::test(start_paused = true)]
async fn where_nobody_answers_another_connection_is_soon_tried() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let (mut queued, began) = (Vec::new(), Instant::now());
    while let Ok(Ok(stream)) = timeout(Duration::from_millis(1), TcpStream::connect(address)).await
    {
        queued.push(stream);
    }
    assert!(began.elapsed() < Duration::from_secs(1), "the queue is full");
    let began = Instant::now();
    let agent = Agent::start(address, |_| ());
    let mut after_s = Vec::new();
    while after_s.len() < 4 {
        sleep(Duration::from_millis(100)).await;
        if after_s.len() < usize::try_from(agent.counters.connections_failed.get()).unwrap() {
            after_s.push(began.elapsed().as_secs());
        }
    }
    assert_eq!(after_s, [2, 4, 8, 16]);
    drop((listener, queued));
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
    assert_eq!(finished.await.unwrap(), Leftover { lost: 0, spooled: 0 });
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
    assert_eq!(finished.await.unwrap(), Leftover { lost: 0, spooled: 0 });
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
            let (sequence, entity) = talk.frame().await.unwrap();
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
        let (sequence, entity) = talk.frame().await.unwrap();
        counted.insert(sequence, entity);
    }
    talk.acknowledge(9 * 6).await;
    assert_eq!(agent.finish().await, Leftover { lost: 0, spooled: 0 });
    for (expected, (sequence, entity)) in (1..).zip(&counted) {
        assert_eq!(*sequence, expected);
        assert_eq!(*entity, meanings(expected - (expected - 1) % 10).entities[0]);
    }
}

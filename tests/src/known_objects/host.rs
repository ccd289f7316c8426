//! A node whose agent reached no runtime: it knows its pods by uid and their containers by id.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use jiff::Timestamp;
use tally_proto::{
    columns::{Builder, Packer},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    encode,
    message::{AgentMessage, BootId, Declarations, Hello, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::{CgroupPath, ContainerId, NodeName, PodUid},
    tick::{Resolution, Tick, UnixMs},
    wire::{self, ingest_client::IngestClient},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

const RESOLUTION_S: u32 = 1;

/// What the memory of every container is, in bytes.
pub const USAGE: i64 = 1 << 20;

/// How much CPU every container takes, in nanoseconds a second: a quarter of a core.
pub const CPU_NS: i64 = 250_000_000;

/// Of each entity: `memory/usage`, `memory/working_set` and `cpu/usage`.
const MEMORY: ColumnNumber = ColumnNumber(1);
const WORKING_SET: ColumnNumber = ColumnNumber(2);
const CPU: ColumnNumber = ColumnNumber(3);

/// The first try after the aggregator went away.
const AGAIN: Duration = Duration::from_millis(100);

/// The pods that run on a node: the ids of the containers of each, by uid.
pub type Running = BTreeMap<String, BTreeSet<String>>;

/// Plays the node's agent until nobody says any longer what runs on it.
pub async fn play(
    name: &str,
    url: String,
    mut running: watch::Receiver<Running>,
) -> anyhow::Result<()> {
    let mut run = 0;
    loop {
        run += 1;
        // Until the aggregator ends, or is ended.
        if let Ok(mut stream) = Stream::open(name, &url, Run(run)).await {
            while running.has_changed().is_ok() {
                wait_for_tick().await;
                let now = running.borrow_and_update().clone();
                if stream.deliver(&now).await.is_err() {
                    break;
                }
            }
        }
        if running.has_changed().is_err() {
            return Ok(());
        }
        sleep(AGAIN).await;
    }
}

fn column(
    number: ColumnNumber,
    metric: &str,
    cumulative: bool,
) -> anyhow::Result<ColumnDeclaration> {
    let (metric, labels) = (MetricName::parse(metric)?, Labels::none());
    Ok(ColumnDeclaration { number, metric, labels, floating: false, cumulative })
}

async fn wait_for_tick() {
    let second_us = 1_000_000;
    let now = Timestamp::now().as_microsecond();
    let left = second_us - now.rem_euclid(second_us);
    sleep(Duration::from_micros(left.unsigned_abs())).await;
}

struct Stream {
    messages: mpsc::Sender<wire::AgentMessage>,
    answers: Streaming<wire::AggregatorMessage>,
    builder: Builder,
    packer: Packer,
    /// By the uid, and by uid and id.
    numbers: BTreeMap<(String, Option<String>), EntityNumber>,
    next: u32,
    sequence: Sequence,
}

impl Stream {
    async fn open(name: &str, url: &str, run: Run) -> anyhow::Result<Self> {
        let resolution = Resolution::from_seconds(u64::from(RESOLUTION_S))?;
        let node = NodeName::parse(name)?;
        let agent_version = "known-objects".to_owned();
        let (boot, acknowledge_within) = (BootId([1; 16]), Duration::ZERO);
        let hello = Hello { node, boot, run, resolution, agent_version, acknowledge_within };
        let (messages, outbox) = mpsc::channel(4);
        messages.send(encode::agent_message(AgentMessage::Hello(hello))).await?;
        let mut client = IngestClient::connect(url.to_owned()).await?;
        let mut answers = client.stream(ReceiverStream::new(outbox)).await?.into_inner();
        answers.message().await?.context("no welcome")?;
        let declared = Declarations {
            entities: vec![EntityDeclaration {
                number: EntityNumber(0),
                start: None,
                what: Declared::Node,
            }],
            columns: vec![
                column(MEMORY, "memory/usage", false)?,
                column(WORKING_SET, "memory/working_set", false)?,
                column(CPU, "cpu/usage", true)?,
            ],
            retired: Vec::new(),
        };
        messages.send(encode::agent_message(AgentMessage::Declarations(declared))).await?;
        let (builder, packer) = (Builder::new(), Packer::new());
        let (numbers, next, sequence) = (BTreeMap::new(), 1, Sequence(0));
        Ok(Self { messages, answers, builder, packer, numbers, next, sequence })
    }

    /// Sends the frame of this second.
    async fn deliver(&mut self, running: &Running) -> anyhow::Result<()> {
        let declared = self.declare(running)?;
        if !declared.is_empty() {
            self.messages.send(encode::agent_message(AgentMessage::Declarations(declared))).await?;
        }
        self.used(EntityNumber(0));
        let numbers: Vec<_> =
            self.numbers.iter().map(|((_, id), number)| (id.is_some(), *number)).collect();
        for (is_container, number) in numbers {
            if is_container {
                self.used(number);
            } else {
                self.builder.set(number, ColumnNumber::READ_OFFSET, 0);
            }
        }
        let mut columns = Vec::new();
        self.packer.pack(self.builder.finish(), &mut columns);
        self.sequence = Sequence(self.sequence.0 + 1);
        let tick = Tick(u64::try_from(Timestamp::now().as_second())?);
        let frame = PackedFrame { sequence: self.sequence, tick, columns: Bytes::from(columns) };
        self.messages.send(encode::agent_message(AgentMessage::Frame(frame))).await?;
        // Acknowledgements are not waited for: a frame that is lost is missing in its tick alone.
        let answer = timeout(Duration::from_millis(1), self.answers.message()).await;
        if let Ok(answer) = answer {
            answer?.context("the stream ended")?;
        }
        Ok(())
    }

    /// What one entity uses in this second.
    fn used(&mut self, number: EntityNumber) {
        self.builder.set(number, ColumnNumber::READ_OFFSET, 0);
        self.builder.set(number, MEMORY, USAGE);
        self.builder.set(number, WORKING_SET, USAGE);
        let seconds = i64::try_from(self.sequence.0).unwrap_or_default();
        self.builder.set(number, CPU, CPU_NS * seconds);
    }

    /// What came and went since the frame before.
    fn declare(&mut self, running: &Running) -> anyhow::Result<Declarations> {
        let mut said = Declarations::default();
        let present: BTreeSet<(String, Option<String>)> = running
            .iter()
            .flat_map(|(uid, ids)| {
                let containers = ids.iter().map(|id| (uid.clone(), Some(id.clone())));
                [(uid.clone(), None)].into_iter().chain(containers)
            })
            .collect();
        self.numbers.retain(|key, number| {
            let stays = present.contains(key);
            if !stays {
                said.retired.push(*number);
            }
            stays
        });
        // A pod comes before its containers.
        for key in present {
            if self.numbers.contains_key(&key) {
                continue;
            }
            let number = EntityNumber(self.next);
            self.next += 1;
            let what = self.what(&key)?;
            self.numbers.insert(key, number);
            let start = Some(UnixMs(Timestamp::now().as_millisecond()));
            said.entities.push(EntityDeclaration { number, start, what });
        }
        Ok(said)
    }

    fn what(&self, (uid, id): &(String, Option<String>)) -> anyhow::Result<Declared> {
        let pod = self.numbers.get(&(uid.clone(), None));
        let path = |rest: &str| CgroupPath::parse(&format!("/kubepods/pod{uid}{rest}"));
        Ok(match id {
            None => Declared::Pod { uid: PodUid::parse(uid)?, key: None, path: Some(path("")?) },
            Some(id) => Declared::PodContainer {
                pod: *pod.context("a container before its pod")?,
                name: None,
                id: Some(ContainerId::parse(id)?),
                path: Some(path(&format!("/{id}"))?),
                sandbox: false,
                image: None,
            },
        })
    }
}

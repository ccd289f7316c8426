//! One node's stream to the aggregator: what an agent is, without a host.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Context as _, bail};
use bytes::Bytes;
use jiff::Timestamp;
use tally_proto::{
    decode, encode,
    message::{AgentMessage, AggregatorMessage, BootId, Hello, PackedFrame, Run, Sequence},
    name::NodeName,
    tick::{Resolution, Tick},
    wire::{self, ingest_client::IngestClient},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{numbers::Numbers, summary::Reading};

/// Messages on their way; each frame is waited for, so there are never more.
const MESSAGES_WAITING: usize = 4;

/// A stream that was welcomed.
#[derive(Debug)]
pub struct Sender {
    messages: mpsc::Sender<wire::AgentMessage>,
    answers: Streaming<wire::AggregatorMessage>,
    numbers: Numbers,
    sequence: Sequence,
}

impl Sender {
    /// Says hello as `node`.
    pub async fn connect(
        server: SocketAddr,
        node: &str,
        resolution: Resolution,
    ) -> anyhow::Result<Self> {
        Self::connect_run(server, node, resolution, Run(1)).await
    }

    /// Says hello as `node`, whose agent has been started so often: in each run it counts its frames
    /// anew.
    pub async fn connect_run(
        server: SocketAddr,
        node: &str,
        resolution: Resolution,
        run: Run,
    ) -> anyhow::Result<Self> {
        let hello = Hello {
            node: NodeName::parse(node)?,
            boot: BootId([1; 16]),
            run,
            resolution,
            agent_version: "golden".to_owned(),
            acknowledge_within: Duration::ZERO,
        };
        let (messages, outbox) = mpsc::channel(MESSAGES_WAITING);
        messages.send(encode::agent_message(AgentMessage::Hello(hello))).await?;
        let mut client = IngestClient::connect(format!("http://{server}")).await?;
        let answers = client.stream(ReceiverStream::new(outbox)).await?.into_inner();
        let (numbers, sequence) = (Numbers::default(), Sequence(0));
        let mut sender = Self { messages, answers, numbers, sequence };
        match sender.answer().await? {
            AggregatorMessage::Welcome(_) => Ok(sender),
            other => bail!("{other:?} in answer to hello"),
        }
    }

    /// Sends the batch stamped `tick`, and waits until it is counted.
    pub async fn send(
        &mut self,
        tick: Tick,
        scraped: Timestamp,
        readings: &[Reading],
    ) -> anyhow::Result<()> {
        let batch = self.numbers.batch(tick, scraped, readings)?;
        if !batch.declarations.is_empty() {
            self.say(AgentMessage::Declarations(batch.declarations)).await?;
        }
        self.sequence = Sequence(self.sequence.0 + 1);
        let frame =
            PackedFrame { sequence: self.sequence, tick, columns: Bytes::from(batch.columns) };
        self.say(AgentMessage::Frame(frame)).await?;
        match self.answer().await? {
            AggregatorMessage::Ack(sequence) if sequence == self.sequence => Ok(()),
            other => bail!("{other:?} in answer to frame {:?}", self.sequence),
        }
    }

    /// Waits until the server ends the stream, and says how it ended.
    pub async fn end(mut self) -> Result<(), Status> {
        while self.answers.message().await?.is_some() {}
        Ok(())
    }

    async fn say(&mut self, message: AgentMessage) -> anyhow::Result<()> {
        Ok(self.messages.send(encode::agent_message(message)).await?)
    }

    async fn answer(&mut self) -> anyhow::Result<AggregatorMessage> {
        let answer = self.answers.message().await?.context("the stream ended")?;
        Ok(decode::aggregator_message(answer)?)
    }
}

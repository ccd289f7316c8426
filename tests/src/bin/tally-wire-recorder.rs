//! `tally-wire-recorder`: listens as an aggregator would and writes down what one agent says, as
//! bytes. See tests/fixtures/wire/record.

use std::{fs, net::SocketAddr, path::PathBuf};

use anyhow::Context as _;
use bytes::Bytes;
use clap::Parser;
use prost::Message as _;
use tally_proto::wire::{
    Ack, AgentMessage, AggregatorMessage, Frame, Welcome, agent_message, aggregator_message,
};
use tally_tests::wire;
use tokio::net::TcpListener;

/// Writes down what one agent says.
#[derive(Debug, Parser)]
struct Flags {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:8083")]
    listen: SocketAddr,
    /// After so many frames it is enough.
    #[arg(long, default_value_t = 8)]
    frames: usize,
    /// The file to write.
    #[arg(long)]
    out: PathBuf,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Flags { listen, frames, out } = Flags::parse();
    let listener = TcpListener::bind(listen).await.context("cannot listen")?;
    let is_frame =
        |message: &Bytes| matches!(kind(message), Some(agent_message::Message::Frame(_)));
    let said = wire::record(listener, frames, is_frame, answer).await?;
    fs::write(&out, wire::pack(&said)?).with_context(|| format!("cannot write {}", out.display()))
}

fn kind(message: &Bytes) -> Option<agent_message::Message> {
    AgentMessage::decode(message.clone()).ok()?.message
}

/// A hello is welcomed, and each frame acknowledged.
fn answer(message: &Bytes) -> Option<Bytes> {
    let message = match kind(message)? {
        agent_message::Message::Hello(hello) => {
            let schema_version = hello.schema_version;
            aggregator_message::Message::Welcome(Welcome { schema_version, acknowledged: 0 })
        }
        agent_message::Message::Declarations(_) => return None,
        agent_message::Message::Frame(Frame { sequence, .. }) => {
            aggregator_message::Message::Ack(Ack { sequence })
        }
    };
    Some(AggregatorMessage { message: Some(message) }.encode_to_vec().into())
}

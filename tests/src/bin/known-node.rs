//! `known-node`: plays the agent of a node whose pods an API server knows, until it is ended. Every
//! container takes a quarter of a core and a mebibyte. See `tests/real/behind-kubernetes`.

use clap::Parser;
use tally_tests::known_objects::{
    api::container_id,
    host::{self, Running},
};
use tokio::sync::watch;

/// Plays the agent of a node.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where the aggregator takes frames
    #[arg(long)]
    aggregator: String,
    /// The node's name
    #[arg(long)]
    node: String,
    /// The uid of a pod that runs on it, and the name of its only container
    #[arg(long, value_names = ["UID", "NAME"], num_args = 2)]
    pod: Vec<String>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { aggregator, node, pod } = Arguments::parse();
    let mut running = Running::new();
    if let [uid, name] = pod.as_slice() {
        running.insert(uid.clone(), [container_id(uid, name)].into());
    }
    let (_says, runs) = watch::channel(running);
    host::play(&node, aggregator, runs).await
}

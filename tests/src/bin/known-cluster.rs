//! `known-cluster`: whether Tally, installed by its own manifests in a whole Kubernetes, is right.
//! See `tests/real/in-cluster`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use tally_tests::known_cluster::{kubectl::Cluster, story::Story};

/// Plays a story of pods in a whole Kubernetes, and prints a line a check.
#[derive(Debug, Parser)]
struct Arguments {
    /// What the checks are called after
    #[arg(long)]
    environment: String,
    /// The folder of kube-node-up and kube-node-down
    #[arg(long)]
    setup: PathBuf,
    /// The agent's program, as it runs in its pod
    #[arg(long)]
    agent: PathBuf,
    /// The pods that are measured
    #[arg(long)]
    loads: PathBuf,
    /// The namespace in which Tally is installed
    #[arg(long)]
    namespace: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { environment, setup, agent, loads, namespace } = Arguments::parse();
    let story = Story { cluster: Cluster { setup }, agent, loads, namespace };
    let all_passed = story
        .play(|check| {
            let verdict = if check.passed { "ok" } else { "FAILED" };
            // Nobody may listen.
            drop(writeln!(io::stdout(), "{verdict} {environment}: {}", check.what));
        })
        .await?;
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

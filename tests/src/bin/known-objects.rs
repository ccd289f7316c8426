//! `known-objects`: whether the aggregator says of the objects of a real API server what they are,
//! while they come and go and the API server does. See `tests/real/in-kubernetes`.

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use tally_tests::known_objects::{aggregator::Aggregator, api::ApiServer, story::Story};

/// Plays a story of objects of an API server, and prints a line a check.
#[derive(Debug, Parser)]
struct Arguments {
    /// What the checks are called after
    #[arg(long)]
    environment: String,
    /// The aggregator's program
    #[arg(long)]
    aggregator: PathBuf,
    /// The folder of kube-api-up and kube-api-down
    #[arg(long)]
    setup: PathBuf,
    /// The command that talks to the API server
    #[arg(long)]
    kubectl: PathBuf,
    /// How the API server is reached
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Where the aggregator's history and its log go
    #[arg(long)]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> anyhow::Result<ExitCode> {
    let Arguments { environment, aggregator, setup, kubectl, kubeconfig, folder } =
        Arguments::parse();
    let aggregator = Aggregator::new(&aggregator, &folder, &kubeconfig)?;
    let story = Story::new(ApiServer { setup, kubectl, kubeconfig }, aggregator);
    let checks = story.play().await?;
    for check in &checks {
        let verdict = if check.passed { "ok" } else { "FAILED" };
        writeln!(io::stdout(), "{verdict} {environment}: {}", check.what)?;
    }
    let all_passed = checks.iter().all(|check| check.passed);
    Ok(if all_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

//! `tally-partition`: cuts the network between the real agent and the real aggregator, kills and
//! stops both, and checks that history has every tick that the agent read.
//!
//! ```text
//! cargo build --bins && target/debug/tally-partition --seconds 600 --seed 7
//! ```

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::Parser;
use tally_tests::partition::{
    network::{Network, Side},
    past::Report,
    story::{self, Plan},
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// Differences that are told; the rest is counted.
const TOLD_MOST: usize = 12;

/// What test runners take as "not run".
const SKIPPED: u8 = 77;

/// Breaks the network between an agent and its aggregator, and both of them.
#[derive(Debug, Parser)]
struct Arguments {
    /// The agent. Not set: beside this program
    #[arg(long)]
    agent: Option<PathBuf>,
    /// The aggregator. Not set: beside this program
    #[arg(long)]
    aggregator: Option<PathBuf>,
    /// Decides what breaks when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// For how long things break
    #[arg(long, default_value_t = 45)]
    seconds: u64,
    /// Where history, spool and logs are meanwhile; is made, and removed unless something failed
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let network = match Network::make() {
        Ok(network) => network,
        Err(why) => {
            say(&format!("SKIPPED: partition: no network namespaces: {why}"));
            return ExitCode::from(SKIPPED);
        }
    };
    match partition(arguments, &network) {
        Ok(report) => tell(&report),
        Err(error) => {
            say(&format!("FAILED partition: {error:#}"));
            say("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn partition(arguments: Arguments, network: &Network) -> anyhow::Result<Report> {
    let Arguments { agent, aggregator, seed, seconds, directory } = arguments;
    let beside = |name| anyhow::Ok(std::env::current_exe()?.with_file_name(name));
    let directory = directory.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("tally-partition-{}", std::process::id()))
    });
    std::fs::create_dir_all(&directory)?;
    let plan = Plan {
        agent: agent.map_or_else(|| beside("tally-agent"), Ok)?,
        aggregator: aggregator.map_or_else(|| beside("tally-aggregator"), Ok)?,
        seed,
        lasting: Duration::from_secs(seconds),
        directory,
    };
    // Questions are asked where the aggregator is, so that a cut does not concern them.
    network.enter(Side::Aggregator)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            report = story::play(&plan, network, say) => report,
            _ = terminate.recv() => bail!("told to end"),
            _ = interrupt.recv() => bail!("interrupted"),
        }
    })?;
    if report.faults.is_empty() {
        std::fs::remove_dir_all(&plan.directory).ok();
    } else {
        say(&format!("logs and files are in {}", plan.directory.display()));
    }
    Ok(report)
}

fn tell(report: &Report) -> ExitCode {
    let Report { series, values, witnessed, alike, faults, .. } = report;
    for fault in faults.iter().take(TOLD_MOST) {
        say(&format!("FAILED partition: {fault}"));
    }
    if TOLD_MOST < faults.len() {
        say(&format!("FAILED partition: and {} more", faults.len() - TOLD_MOST));
    }
    let found = [
        format!("{series} series have every tick that was read, {values} values"),
        format!("{witnessed} values are what a second reader saw"),
        format!("{alike} answers are the same from files alone"),
    ];
    let word = if faults.is_empty() { "ok partition:" } else { "looked at:" };
    for line in &found {
        say(&format!("{word} {line}"));
    }
    let (passed, failed) = if faults.is_empty() { (found.len(), 0) } else { (0, faults.len()) };
    say(&format!("{passed} passed, {failed} failed"));
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) {
    // When even standard output is closed there is nobody to tell.
    drop(writeln!(stdout(), "{text}"));
}

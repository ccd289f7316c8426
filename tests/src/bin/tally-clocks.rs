//! `tally-clocks`: sets the clocks of the real agent and the real aggregator wrong and right again,
//! and checks that the present comes back and that history has every tick that the agent read.
//!
//! ```text
//! cargo build --bins && target/debug/tally-clocks
//! ```

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::bail;
use clap::Parser;
use tally_tests::clocks::{
    clock,
    story::{self, Plan, Report},
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
};

/// What test runners take as "not run".
const SKIPPED: u8 = 77;

/// Sets the clocks of an agent and its aggregator wrong, hours to days, one after the other and both
/// together.
#[derive(Debug, Parser)]
struct Arguments {
    /// The agent. Not set: beside this program
    #[arg(long)]
    agent: Option<PathBuf>,
    /// The aggregator. Not set: beside this program
    #[arg(long)]
    aggregator: Option<PathBuf>,
    /// Where history, spool and logs are meanwhile; is made, and removed unless something failed
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let Some(library) = clock::library() else {
        say("SKIPPED: clocks: no libfaketime: run tests/setup/install-faketime first");
        return ExitCode::from(SKIPPED);
    };
    match play(arguments, library) {
        Ok(report) => tell(&report),
        Err(error) => {
            say(&format!("FAILED clocks: {error:#}"));
            say("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn play(arguments: Arguments, library: PathBuf) -> anyhow::Result<Report> {
    let Arguments { agent, aggregator, directory } = arguments;
    let beside = |name| anyhow::Ok(std::env::current_exe()?.with_file_name(name));
    let directory = directory.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("tally-clocks-{}", std::process::id()))
    });
    std::fs::create_dir_all(&directory)?;
    let plan = Plan {
        agent: agent.map_or_else(|| beside("tally-agent"), Ok)?,
        aggregator: aggregator.map_or_else(|| beside("tally-aggregator"), Ok)?,
        library,
        directory,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let report = runtime.block_on(async {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            report = story::play(&plan, say) => report,
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

fn tell(Report { held, faults }: &Report) -> ExitCode {
    held.iter().for_each(|held| say(&format!("ok clocks: {held}")));
    faults.iter().for_each(|fault| say(&format!("FAILED clocks: {fault}")));
    say(&format!("{} passed, {} failed", held.len(), faults.len()));
    if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn say(text: &str) {
    // When even standard output is closed there is nobody to tell.
    drop(writeln!(stdout(), "{text}"));
}

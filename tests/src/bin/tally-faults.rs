//! `tally-faults`: breaks an aggregator in every way at random moments, and checks that history is
//! that of a run in which nothing broke.
//!
//! ```text
//! cargo build -p tally-aggregator && cargo run -p tally-tests --bin tally-faults -- --kills 100
//! ```

use std::{
    io::{Write, stdout},
    path::PathBuf,
    process::ExitCode,
};

use clap::Parser;
use tally_tests::faults::story::{self, Plan};
use tokio::runtime::Builder;

/// Breaks an aggregator at random moments.
#[derive(Debug, Parser)]
struct Arguments {
    /// The aggregator. Not set: beside this program
    #[arg(long)]
    program: Option<PathBuf>,
    /// Decides what happens when
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How often it is killed
    #[arg(long, default_value_t = 25)]
    kills: u64,
    /// How far the live model reaches back; time runs up to some hundred times as fast as it does,
    /// so that an outage of a second is one of minutes
    #[arg(long, default_value = "15m")]
    window: String,
    /// Where history is kept meanwhile; is made, and removed unless something failed
    #[arg(long)]
    directory: Option<PathBuf>,
}

fn main() -> ExitCode {
    match faults(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("FAILED faults: {error:#}"));
            say("0 passed, 1 failed");
            ExitCode::FAILURE
        }
    }
}

fn faults(arguments: Arguments) -> anyhow::Result<bool> {
    let Arguments { program, seed, kills, window, directory } = arguments;
    let program = match program {
        Some(program) => program,
        None => std::env::current_exe()?.with_file_name("tally-aggregator"),
    };
    let directory = directory.unwrap_or_else(|| {
        std::env::temp_dir().join(format!("tally-faults-{}", std::process::id()))
    });
    std::fs::create_dir_all(&directory)?;
    let plan = Plan { program, seed, kills, window, directory };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let report = runtime.block_on(story::play(&plan, say))?;
    for fault in report.told() {
        say(&format!("FAILED faults: {fault}"));
    }
    let (failed, alike) = (report.faults.len(), report.alike);
    if failed == 0 {
        say(&format!("ok faults: {alike} answers as if undisturbed"));
        say(&format!("ok faults: {} values as they were sent", report.true_points));
        story::clean(&plan.directory);
    } else {
        say(&format!("{alike} answers are alike, {} values are true", report.true_points));
    }
    let passed = if failed == 0 { 2 } else { 0 };
    say(&format!("{passed} passed, {failed} failed"));
    Ok(failed == 0)
}

fn say(text: &str) {
    // When even standard output is closed there is nobody to tell.
    drop(writeln!(stdout(), "{text}"));
}

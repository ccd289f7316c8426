//! `tally-swarm`: plays a cluster of agents against an aggregator and prints what that cost.

use std::{
    io::{Write, stderr, stdout},
    process::ExitCode,
};

use anyhow::{Context, bail};
use clap::Parser;
use tally_tests::swarm::{app, arguments::Arguments};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    match swarm(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn swarm(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let report = runtime.block_on(app::run(arguments, say))?;
    let json = serde_json::to_string_pretty(&report).context("cannot write the report")?;
    writeln!(stdout(), "{json}").context("cannot write to standard output")?;
    if report.kept_up == Some(false) {
        bail!("the player did not keep up: see \"punctuality\"; --threads and --jitter may help");
    }
    if report.sustained == Some(false) {
        bail!("the aggregator did not keep up: frames were not acknowledged within their tick");
    }
    Ok(())
}

fn say(text: &str) {
    // When even standard error is closed there is nobody to tell.
    drop(writeln!(stderr(), "tally-swarm: {text}"));
}

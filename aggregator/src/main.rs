//! `tally-aggregator`: takes the streams of all agents, rolls them up, and answers over REST.

use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser;
use tally_aggregator::{
    app,
    history_command::{self, Streams},
    settings::{Command, Flags, Settings},
    telemetry,
};

/// Frames come and go in many sizes; jemalloc keeps that from fragmenting memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(code) => code,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> anyhow::Result<ExitCode> {
    if let Some(Command::History(asked)) = &flags.command {
        let (mut out, mut notes) = (io::stdout(), io::stderr());
        let is_watched = notes.is_terminal();
        let mut streams = Streams { out: &mut out, notes: &mut notes, is_watched };
        let mut asked = asked.clone();
        // The flag means the same before the subcommand and after it.
        asked.history_dir = asked.history_dir.or_else(|| flags.history_dir.clone());
        return Ok(history_command::run(&asked, &mut streams)?);
    }
    let settings = Settings::check(flags)?;
    telemetry::init(telemetry::filter(&flags.log)?, flags.log_format);
    // What has much to do has threads of its own.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(app::run(settings))?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stderr, reason = "there may be no log yet, and a person is waiting")]
fn complain(error: &anyhow::Error) {
    eprintln!("tally-aggregator: {error:#}");
}

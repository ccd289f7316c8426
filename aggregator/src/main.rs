//! `tally-aggregator`: takes the streams of all agents, rolls them up, and answers over REST.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser;
use tally_aggregator::{
    app,
    settings::{Flags, Settings},
    telemetry,
};

/// Frames come and go in many sizes; jemalloc keeps that from fragmenting memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> anyhow::Result<()> {
    let settings = Settings::check(flags)?;
    telemetry::init(telemetry::filter(&flags.log)?, flags.log_format);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(app::run(settings))
}

#[expect(clippy::print_stderr, reason = "there may be no log yet, and a person is waiting")]
fn complain(error: &anyhow::Error) {
    eprintln!("tally-aggregator: {error:#}");
}

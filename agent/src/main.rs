//! The agent as a program of its own.

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use tally_agent::{
    app,
    settings::{Flags, Settings},
    telemetry,
};

/// The exit code for settings that are not valid, as clap uses for unknown flags.
const BAD_SETTINGS: u8 = 2;

fn main() -> ExitCode {
    let settings = match Settings::check(Flags::parse()) {
        Ok(settings) => settings,
        Err(faults) => return fail(&faults, ExitCode::from(BAD_SETTINGS)),
    };
    match start(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&telemetry::chain(error.as_ref()), ExitCode::FAILURE),
    }
}

fn start(settings: Settings) -> anyhow::Result<()> {
    telemetry::init(&settings.log, settings.log_format)?;
    if settings.once {
        let reading = app::once(&settings)?;
        return writeln!(io::stdout(), "{reading:#}").context("cannot print the reading");
    }
    // One thread for the network is enough, and takes the least memory.
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        let shutdown = app::asked_to_stop().context("cannot listen for signals")?;
        app::run(settings, shutdown).await
    })
}

fn fail(why: &dyn std::fmt::Display, code: ExitCode) -> ExitCode {
    // With standard error closed there is nobody to tell; the code remains.
    drop(writeln!(io::stderr(), "tally-agent: {why}"));
    code
}

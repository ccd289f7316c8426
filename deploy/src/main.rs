//! `tally`: aggregator and agent of this host in one process, with a live table.

mod folder;
mod live;
mod settings;
mod table;
mod watch;

use std::{io, net::SocketAddr, path::Path, process::ExitCode};

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use tally_agent::app::asked_to_stop;
use tally_aggregator::{
    app::{Ended, StartError},
    query::Queries,
    settings::Settings,
};
use tally_proto::tick::Resolution;
use tokio::sync::oneshot;

use folder::DataFolder;
use settings::Flags;

/// The exit code for settings that are not valid, as clap uses for unknown flags.
const BAD_SETTINGS: u8 = 2;

/// Frames come and go in many sizes; jemalloc keeps that from fragmenting memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let flags = Flags::parse();
    let settings = match settings::check(&flags) {
        Ok(settings) => settings,
        Err(faults) => {
            complain(&faults);
            return ExitCode::from(BAD_SETTINGS);
        }
    };
    match start(&flags, settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(clippy::print_stderr, reason = "there may be no log yet, and a person is waiting")]
fn complain(error: &anyhow::Error) {
    eprintln!("tally: {error:#}");
}

fn start(flags: &Flags, settings: Settings) -> anyhow::Result<()> {
    let folder = DataFolder::own(&flags.data_dir())?;
    let shows_table = !flags.no_table && live::can_draw();
    live::begin_log(&flags.log, shows_table.then_some(&*folder.path))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run(flags, settings, &folder, shows_table))
}

async fn run(
    flags: &Flags,
    settings: Settings,
    folder: &DataFolder,
    shows_table: bool,
) -> anyhow::Result<()> {
    let resolution = settings.resolution;
    let clock = tally_aggregator::app::system_clock();
    let mut aggregator =
        tally_aggregator::app::start(settings, clock).await.map_err(with_advice)?;
    let (rest, grpc) = (aggregator.rest_addr, aggregator.grpc_addr);
    folder
        .note_addresses(&rest.to_string(), &grpc.to_string())
        .context("cannot write into the data folder")?;

    let settings = settings::agent(flags, &grpc.to_string())?;
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = tally_agent::app::run(settings, async {
        // The sender is dropped when the pair is to stop.
        drop(stopped.await);
    });
    let asked = asked_to_stop().context("cannot wait for signals")?;
    tokio::pin!(agent, asked);
    let shown = shows_table.then_some(&*folder.path);
    let ended = loop {
        let showing = show(aggregator.queries(), resolution, rest, shown);
        let ended = tokio::select! {
            () = &mut asked => break Ok(()),
            ended = &mut agent => return ended.context("the agent ended"),
            ended = aggregator.ended() => ended,
            ended = showing => break ended,
        };
        match ended {
            Ended::Failed(error) => break Err(error.context("the aggregator ended")),
            Ended::ClockSetBack => aggregator = aggregator.begin_anew().await?,
        }
    };
    drop(stop);
    agent.await.context("the agent did not stop cleanly")?;
    aggregator.stop().await;
    ended
}

/// Keeps a person informed, as long as it is let.
async fn show(
    queries: Queries,
    resolution: Resolution,
    rest: SocketAddr,
    folder: Option<&Path>,
) -> anyhow::Result<()> {
    let urls = live::urls(rest);
    match folder {
        Some(folder) => live::watch(queries, resolution, urls, folder).await,
        None => live::tell(queries, resolution, urls).await,
    }
    .context("cannot write to the terminal")
}

fn with_advice(error: StartError) -> anyhow::Error {
    match error {
        StartError::Listen { flag, address, source }
            if source.kind() == io::ErrorKind::AddrInUse =>
        {
            anyhow!(
                "port {} of {} is taken, perhaps by another tally: stop that, or take any free port \
                 with {flag} {}:0",
                address.port(),
                address.ip(),
                address.ip()
            )
        }
        other => anyhow::Error::new(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_says_what_to_do() {
        let error = StartError::Listen {
            flag: "--rest-listen",
            address: ([127, 0, 0, 1], 8082).into(),
            source: io::ErrorKind::AddrInUse.into(),
        };
        let text = format!("{:#}", with_advice(error));
        assert!(text.contains("8082") && text.ends_with("--rest-listen 127.0.0.1:0"), "{text}");
    }
}

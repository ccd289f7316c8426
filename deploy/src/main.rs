//! `tally`: aggregator and agent of this host in one process, with a live table.

mod folder;
mod live;
mod settings;
mod table;
mod watch;

use std::{
    io::{self, IsTerminal as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;
use tally_agent::app::asked_to_stop;
use tokio::sync::oneshot;

use folder::DataFolder;
use settings::Flags;

/// Frames come and go in many sizes; jemalloc keeps that from fragmenting memory.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match start(&Flags::parse()) {
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

fn start(flags: &Flags) -> anyhow::Result<()> {
    let folder = DataFolder::own(&flags.data_dir())?;
    let shows_table = !flags.no_table && io::stdout().is_terminal();
    live::begin_log(&flags.log, shows_table.then_some(&*folder.path))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(run(flags, &folder, shows_table))
}

async fn run(flags: &Flags, folder: &DataFolder, shows_table: bool) -> anyhow::Result<()> {
    let settings = tally_aggregator::settings::Flags::try_parse_from(flags.aggregator())?;
    let settings = tally_aggregator::settings::Settings::check(&settings)?;
    let resolution = settings.resolution;
    let clock = tally_aggregator::app::system_clock();
    let mut aggregator = tally_aggregator::app::start(settings, clock)
        .await
        .context("another tally may be running here; see --rest-listen and --grpc-listen")?;
    let (rest, grpc) = (aggregator.rest_addr.to_string(), aggregator.grpc_addr.to_string());
    folder.note_addresses(&rest, &grpc).context("cannot write into the data folder")?;

    let settings = tally_agent::settings::Flags::try_parse_from(flags.agent(&grpc))?;
    let settings = tally_agent::settings::Settings::check(settings)?;
    let (stop, stopped) = oneshot::channel::<()>();
    let agent = tally_agent::app::run(settings, async {
        // The sender is dropped when the pair is to stop.
        drop(stopped.await);
    });
    tokio::pin!(agent);
    let asked = asked_to_stop().context("cannot wait for signals")?;
    let urls = live::urls(&rest);
    let shown = shows_table.then_some(&*folder.path);
    let watching = live::watch(aggregator.queries(), resolution, &urls, shown);
    let ended = tokio::select! {
        () = asked => Ok(()),
        ended = &mut agent => return ended.context("the agent ended"),
        ended = aggregator.ended() => Err(ended.context("the aggregator ended")),
        ended = watching => ended.context("cannot write to the terminal"),
    };
    drop(stop);
    agent.await.context("the agent did not stop cleanly")?;
    aggregator.stop().await;
    ended
}

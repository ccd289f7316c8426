//! `tally-compare`: the same samples in Tally's store, VictoriaMetrics and InfluxDB. Prints one table:
//! bytes a sample on disk, samples a second of CPU, and what thirty days of one series take.
//!
//! `tests/compare/run` gets the databases and starts this. Tally's CPU is that of its encoder and of
//! merging in this process; what taking samples over gRPC costs is measured by tally-swarm.

use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Write, stderr, stdout},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use tally_tests::compare::{
    bench::{self, Generated, Programs},
    stop::Stop,
    table::table,
};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
};

/// Tally's store beside two databases.
#[derive(Clone, Debug, Parser)]
struct Arguments {
    /// VictoriaMetrics' server
    #[arg(long, value_name = "FILE", required_unless_present = "write_dataset")]
    victoria: Option<PathBuf>,
    /// InfluxDB's server
    #[arg(long, value_name = "FILE", required_unless_present = "write_dataset")]
    influx: Option<PathBuf>,
    /// Tally's aggregator, to ask it over HTTP too
    #[arg(long, value_name = "FILE")]
    aggregator: Option<PathBuf>,
    /// Days of generated samples at 15 s
    #[arg(long, default_value = "30", value_parser = clap::value_parser!(u64).range(1..=365))]
    days: u64,
    /// Pods on the generated node, with two containers each
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u32).range(1..=100))]
    pods: u32,
    /// Folder for the data, which must not be there and is removed; not set: one for temporary files
    #[arg(long, value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Only write the generated samples, in InfluxDB's line protocol with times in seconds
    /// (VictoriaMetrics takes it too, at /write?precision=s)
    #[arg(long, value_name = "FILE")]
    write_dataset: Option<PathBuf>,
}

fn main() -> ExitCode {
    match main_or_error(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The work is on a thread of its own, so that a signal can make it fail where it ends its servers
/// and removes its files.
fn main_or_error(arguments: &Arguments) -> anyhow::Result<()> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let mut interrupted = signal(SignalKind::interrupt())?;
        let mut terminated = signal(SignalKind::terminate())?;
        let stop = Stop::default();
        let (arguments, heard) = (arguments.clone(), stop.clone());
        let mut work = spawn_blocking(move || work(&arguments, &heard));
        let done = tokio::select! {
            done = &mut work => done,
            _ = interrupted.recv() => { stop.now(); work.await }
            _ = terminated.recv() => { stop.now(); work.await }
        };
        done.context("the comparison has panicked")?
    })
}

fn work(arguments: &Arguments, stop: &Stop) -> anyhow::Result<()> {
    let generated = Generated { days: arguments.days, pods: arguments.pods };
    if let Some(path) = &arguments.write_dataset {
        let file = File::create(path).with_context(|| format!("cannot make {}", path.display()))?;
        return generated.write(&mut BufWriter::new(file), stop);
    }
    let programs = Programs {
        victoria: arguments.victoria.clone().context("--victoria is missing")?,
        influx: arguments.influx.clone().context("--influx is missing")?,
        aggregator: arguments.aggregator.clone(),
    };
    let usual = || env::temp_dir().join(format!("tally-compare-{}", std::process::id()));
    let folder = Folder::new(arguments.folder.clone().unwrap_or_else(usual))?;
    let lines = bench::run(&programs, generated, &folder.0, stop, say)?;
    write!(stdout(), "{}", table(&lines)).context("cannot write to standard output")
}

/// A folder that goes when it is dropped.
struct Folder(PathBuf);

impl Folder {
    /// One that was there before is somebody else's, and stays.
    fn new(path: PathBuf) -> anyhow::Result<Self> {
        fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            say(&format!("cannot remove {}: {error}", self.0.display()));
        }
    }
}

fn say(text: &str) {
    // When even standard error is closed there is nobody to tell.
    drop(writeln!(stderr(), "tally-compare: {text}"));
}

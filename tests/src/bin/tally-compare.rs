//! `tally-compare`: the same samples in Tally's store, VictoriaMetrics and InfluxDB. Prints one table:
//! bytes a sample on disk, samples a second of CPU, and what thirty days of one series take.
//!
//! `tests/compare/run` gets the databases and starts this. Tally's CPU is that of its encoder and of
//! merging in this process, and its answers come without HTTP; what taking samples over gRPC costs
//! is measured by tally-swarm.

use std::{io::Write, path::PathBuf};

use anyhow::{Context, ensure};
use clap::Parser;
use tally_aggregator::history::{
    life::{InPod, Who},
    series::Row,
};
use tally_proto::tick::Tick;
use tally_tests::{
    compare::{Percentiles, Taken, influx, tally, text, victoria},
    history::{recorded, swarm::Player},
    swarm::shape::Shape,
};

/// Tally's store beside two databases.
#[derive(Debug, Parser)]
struct Arguments {
    /// VictoriaMetrics' server
    #[arg(long)]
    victoria: PathBuf,
    /// InfluxDB's server
    #[arg(long)]
    influx: PathBuf,
    /// Days of generated samples at 15 s
    #[arg(long, default_value = "30")]
    days: u64,
    /// Pods on the generated node, with two containers each
    #[arg(long, default_value = "2")]
    pods: u32,
    /// Folder for the data, which must not be there; it is removed
    #[arg(long)]
    folder: PathBuf,
}

/// The metric that is asked for.
const ASKED: &str = "memory/usage";

/// Answers may differ by so much of their size: sketches are within 1 %, and one of three
/// interpolates between two values.
const TOLERANCE: f64 = 0.03;

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    std::fs::create_dir(&arguments.folder).context("--folder must be new")?;
    let done = compare(&arguments);
    std::fs::remove_dir_all(&arguments.folder)?;
    done
}

fn compare(arguments: &Arguments) -> anyhow::Result<()> {
    say(
        "| data | store | bytes a sample | samples a CPU second | 30 days, one bucket | by the hour |",
    )?;
    say("|---|---|---|---|---|---|")?;
    let series = recorded::series()?;
    for (step, name) in [(1, "recorded, 24 min at 1 s"), (15, "recorded, every 15th second")] {
        let rows = || std::iter::once(Ok(recorded::rows(&series, 0, 1440, step, false)));
        let folder = arguments.folder.join(format!("recorded-{step}"));
        let (ours, samples) = tally::run(&folder.join("tally"), rows(), None)?;
        let theirs = victoria::run(&arguments.victoria, &folder.join("victoria"), rows(), None)?;
        let others = influx::run(&arguments.influx, &folder.join("influx"), rows(), None)?;
        print(name, samples, [&ours, &theirs, &others])?;
    }
    generated(arguments)
}

fn generated(arguments: &Arguments) -> anyhow::Result<()> {
    let (begin, hours) = (recorded::BEGIN, arguments.days * 24);
    let end = begin + arguments.days * 86_400;
    let shape = Shape {
        seed: 1,
        nodes: 2,
        pods: arguments.pods,
        containers: 2,
        free_containers: 1,
        metrics: 3,
        churn_ppm: 0,
        resolution_s: 15,
    };
    let spans = || -> anyhow::Result<_> {
        let mut player = Player::new(shape, 0, Tick(begin))?;
        Ok((0..hours).map(move |_| player.rows(240)))
    };
    let container = container(&Player::new(shape, 0, Tick(begin))?.rows(1)?)?;
    let labels = text::labels(&Who::InPod(container.clone()));
    let asked = Some((ASKED, labels.as_slice(), begin, end, 15));
    let folder = arguments.folder.join("generated");
    let (ours, samples) =
        tally::run(&folder.join("tally"), spans()?, Some((ASKED, &container, begin, end)))?;
    let theirs = victoria::run(&arguments.victoria, &folder.join("victoria"), spans()?, asked)?;
    let others = influx::run(&arguments.influx, &folder.join("influx"), spans()?, asked)?;
    for other in [&theirs, &others] {
        agree(ours.whole.as_ref(), other.whole.as_ref(), 1)?;
        agree(ours.hourly.as_ref(), other.hourly.as_ref(), usize::try_from(hours)?)?;
    }
    let name = format!("generated, {} days at 15 s", arguments.days);
    print(&name, samples, [&ours, &theirs, &others])
}

fn container(rows: &[Row]) -> anyhow::Result<InPod> {
    let of = |row: &Row| row.life.who.in_pod().filter(|in_pod| in_pod.container.is_some()).cloned();
    rows.iter().find_map(of).context("a container")
}

type Answer<'a> = Option<&'a (Vec<Percentiles>, f64)>;

fn agree(ours: Answer<'_>, theirs: Answer<'_>, buckets: usize) -> anyhow::Result<()> {
    let (ours, theirs) = ours.zip(theirs).context("an answer is missing")?;
    ensure!(ours.0.len() == buckets, "{} buckets, not {buckets}", ours.0.len());
    ensure!(theirs.0.len() == buckets, "{} buckets, not {buckets}", theirs.0.len());
    for (place, (ours, theirs)) in ours.0.iter().zip(&theirs.0).enumerate() {
        let near = ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() <= TOLERANCE * b.abs());
        ensure!(near, "bucket {place}: {ours:?} and {theirs:?}");
    }
    Ok(())
}

#[expect(clippy::as_conversions, reason = "figures for people")]
fn print(data: &str, samples: u64, taken: [&Taken; 3]) -> anyhow::Result<()> {
    for (store, one) in ["Tally", "VictoriaMetrics", "InfluxDB"].into_iter().zip(taken) {
        let bytes = one.bytes as f64 / samples as f64;
        let rate = samples as f64 / (one.cpu_ns as f64 / 1e9) / 1e6;
        let took = |answer: &Option<(Vec<Percentiles>, f64)>| {
            answer.as_ref().map_or_else(String::new, |(_, ms)| format!("{ms:.2} ms"))
        };
        let (whole, hourly) = (took(&one.whole), took(&one.hourly));
        say(&format!("| {data} | {store} | {bytes:.3} | {rate:.2} M | {whole} | {hourly} |"))?;
    }
    say(&format!("({data}: {samples} samples)"))
}

fn say(line: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{line}").context("cannot write to standard output")
}

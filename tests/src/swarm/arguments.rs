//! What the command line says.

use std::{path::PathBuf, thread};

use clap::{Parser, value_parser};
use tally_proto::tick::Resolution;

use super::{meter::METRICS_MOST, shape::Shape};

/// Plays a cluster of agents against an aggregator over real gRPC, and prints what that cost as one
/// JSON object. Progress goes to standard error.
#[derive(Clone, Debug, Parser)]
#[command(name = "tally-swarm", version, after_help = AFTER_HELP)]
pub struct Arguments {
    /// Nodes; each has a connection of its own.
    #[arg(long, default_value_t = 100)]
    pub nodes: u32,
    /// Pods on each node.
    #[arg(long, default_value_t = 30)]
    pub pods: u32,
    /// Containers in each pod.
    #[arg(long, default_value_t = 2)]
    pub containers: u32,
    /// Containers of each node that no pod owns.
    #[arg(long, default_value_t = 4)]
    pub free_containers: u32,
    /// Metrics of each entity, the time at which it was read not counted.
    #[arg(long, default_value_t = 15, value_parser = metrics)]
    pub metrics: usize,
    /// Share of all pods that are replaced at each tick, in percent.
    #[arg(long, default_value_t = 0.0, value_name = "PERCENT")]
    pub churn: f64,
    /// Decides every name and every value.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Time between ticks, such as 1s or 15s. It must be the aggregator's.
    #[arg(long, default_value = "1s", value_parser = resolution)]
    pub resolution: Resolution,
    /// How late after the tick a node may send, in milliseconds: each has its own time between 0
    /// and this. Agents read at the tick and send at once, so it is what their clocks differ by.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pub jitter: u64,
    /// Threads that play the nodes. Not set: half of the cores, the rest is the aggregator's.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=64))]
    pub threads: Option<u32>,
    /// Ticks before the measurement begins: connecting and the first, absolute frames are not part
    /// of it.
    #[arg(long, default_value_t = 3)]
    pub warm_up: u64,
    /// Ticks that are measured.
    #[arg(long, default_value_t = 20)]
    pub ticks: u64,
    /// Sends frames as fast as they are acknowledged. They are made and packed before the clock
    /// starts, so that making them takes no CPU from the aggregator.
    #[arg(long, conflicts_with = "query")]
    pub flat_out: bool,
    /// Asks for series, lists and exports under the load, once the cost of ingest was measured.
    #[arg(long)]
    pub query: bool,
    /// The aggregator's gRPC address, such as http://127.0.0.1:8083, when it runs already.
    #[arg(long, value_name = "URL", required_unless_present = "spawn")]
    pub aggregator: Option<String>,
    /// Its REST address, such as http://127.0.0.1:8082. Without it nothing is asked.
    #[arg(long, value_name = "URL")]
    pub rest: Option<String>,
    /// Its process. Without it neither CPU nor memory are measured.
    #[arg(long)]
    pub pid: Option<u32>,
    /// Starts this aggregator on free loopback ports, and ends it afterwards.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["aggregator", "rest", "pid"])]
    pub spawn: Option<PathBuf>,
    /// How much history the started aggregator keeps in memory.
    #[arg(long, default_value = "15s", requires = "spawn")]
    pub model_window: String,
}

const AFTER_HELP: &str = "\
Examples:
  tally-swarm --spawn target/release/tally-aggregator --nodes 1000 --query
  tally-swarm --spawn target/release/tally-aggregator --nodes 1000 --flat-out --ticks 64
  tally-swarm --aggregator http://127.0.0.1:8083 --rest http://127.0.0.1:8082 --pid 4711 \\
              --nodes 50 --resolution 15s --churn 0.5

The JSON has: the shape; samples and frames sent and acknowledged each second; bytes a sample; the
aggregator's CPU seconds, microseconds an entity and cycle, and memory; freshness (from the reading
on a node until REST shows it); and with --query latencies of each kind of question.";

impl Arguments {
    /// Threads that play the nodes.
    pub fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.threads
            .map_or_else(|| cores().div_ceil(2), |count| usize::try_from(count).unwrap_or(1))
    }

    /// The cluster to play.
    #[expect(clippy::as_conversions, reason = "saturates: a share of 0 to 100 percent")]
    pub fn shape(&self) -> Shape {
        Shape {
            seed: self.seed,
            nodes: self.nodes,
            pods: self.pods,
            containers: self.containers,
            free_containers: self.free_containers,
            metrics: self.metrics,
            churn_ppm: (self.churn.clamp(0.0, 100.0) * 1e4) as u64,
            resolution_s: self.resolution.seconds(),
        }
    }
}

fn metrics(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=METRICS_MOST).contains(&count) => Ok(count),
        _ => Err(format!("it is a number from 1 to {METRICS_MOST}")),
    }
}

fn resolution(text: &str) -> Result<Resolution, String> {
    let seconds = text
        .strip_suffix('s')
        .unwrap_or(text)
        .parse()
        .map_err(|_| "it is a number of seconds, such as 15s")?;
    Resolution::from_seconds(seconds).map_err(|bad| bad.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn churn_is_a_share_of_a_million() {
        let arguments = parse("swarm --aggregator http://x --churn 0.5").unwrap();
        assert_eq!(arguments.shape().churn_ppm, 5_000);
    }

    #[test]
    fn there_must_be_an_aggregator_and_only_one() {
        assert!(parse("swarm").is_err());
        assert!(parse("swarm --spawn x").is_ok());
        assert!(parse("swarm --spawn x --aggregator http://x").is_err());
    }
}

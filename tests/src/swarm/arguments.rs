//! What the command line says.

use std::{path::PathBuf, thread, time::Duration};

use clap::{Parser, value_parser};
use tally_proto::{limits::ACKNOWLEDGE_WITHIN_MS, tick::Resolution};

use super::{
    meter::METRICS_MOST,
    shape::{NAMESPACES, Shape},
    weather::Weather,
};

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
    /// Namespaces that the pods are spread over; half of all pods are in a quarter of them.
    #[arg(long, default_value_t = NAMESPACES, value_parser = value_parser!(u64).range(1..=NAMESPACES))]
    pub namespaces: u64,
    /// Metrics of each entity, the time at which it was read not counted.
    #[arg(long, default_value_t = 15, value_parser = metrics)]
    pub metrics: usize,
    /// Pods that are replaced by new ones at each tick, in percent of all.
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = percent)]
    pub churn: Percent,
    /// Containers that restart at each tick, in percent of all: they get a new start time, another
    /// id where a runtime gives one, and counters that begin at 0.
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = percent)]
    pub restarts: Percent,
    /// Nodes that are cut off at any time, in percent of all: each for 2 to 8 ticks, after which
    /// it connects again and sends what it kept, beginning with a frame that it had sent before.
    #[arg(long, default_value = "0", value_name = "PERCENT", value_parser = percent, conflicts_with = "flat_out")]
    pub late: Percent,
    /// Decides every name and every value.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Time between ticks, such as 1s or 15s. It must be the aggregator's.
    #[arg(long, default_value = "1s", value_parser = resolution)]
    pub resolution: Resolution,
    /// How late after the tick a node may send, in milliseconds: each has its own time between 0
    /// and this. Agents read at the tick and send at once, so it is what their clocks differ by.
    /// At most 80 % of the resolution.
    #[arg(long, value_name = "MS", default_value_t = 50)]
    pub jitter: u64,
    /// How long nodes can wait for the acknowledgement of a frame, such as 5s, which is what agents
    /// say; at 0s each frame is acknowledged as soon as it is durable. Flat out it is 0s always.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = acknowledge_within)]
    pub acknowledge_within: Duration,
    /// Threads that play the nodes. Not set: one for every two cores, the rest is the aggregator's.
    #[arg(long, value_name = "COUNT", value_parser = value_parser!(u32).range(1..=64))]
    pub threads: Option<u32>,
    /// Ticks before the measurement begins: connecting and the first, absolute frames are not part
    /// of it.
    #[arg(long, default_value_t = 3)]
    pub warm_up: u64,
    /// Ticks that are measured.
    #[arg(long, default_value_t = 20)]
    pub ticks: u64,
    /// Sends frames as fast as they are acknowledged, not at the resolution. They are made and packed before the clock
    /// starts, so that making them takes no CPU from the aggregator.
    #[arg(long, conflicts_with = "query")]
    pub flat_out: bool,
    /// Asks for series, lists and exports once the cost of ingest was measured, while the nodes
    /// go on sending. A thread of its own asks one question after the other.
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
    /// Lets the started aggregator keep history in this directory. Without it, it keeps none.
    #[arg(long, value_name = "DIR", requires = "spawn")]
    pub history_dir: Option<PathBuf>,
}

/// Parts of a million, given in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percent {
    /// Of a million.
    pub ppm: u64,
}

const AFTER_HELP: &str = "\
Examples:
  What 1,000 nodes cost at one frame a second each, and how fast questions are answered meanwhile:
    tally-swarm --spawn target/release/tally-aggregator --nodes 1000 --query
  5,000 nodes, 475,000 entities, for a minute, with the history that an aggregator keeps by default:
    tally-swarm --spawn target/release/tally-aggregator --nodes 5000 --ticks 60 --model-window 15m
  As many frames as one aggregator takes:
    tally-swarm --spawn target/release/tally-aggregator --nodes 1000 --flat-out --ticks 64
  The same, durable, with history:
    tally-swarm --spawn target/release/tally-aggregator --nodes 1000 --flat-out --ticks 64 --history-dir /var/tmp/swarm
  Bad weather: pods come and go, containers restart, a twentieth of the nodes is cut off:
    tally-swarm --spawn target/release/tally-aggregator --churn 0.5 --restarts 0.2 --late 5
  A million pods that live for five seconds each, all in history: does memory grow with them?
    tally-swarm --spawn target/release/tally-aggregator --nodes 100 --pods 100 --containers 1 --churn 20 \\
                --ticks 560 --model-window 60s --history-dir /var/tmp/swarm
  An aggregator that runs already; without --rest nothing is asked, without --pid nothing is measured:
    tally-swarm --aggregator http://127.0.0.1:8083 --rest http://127.0.0.1:8082 --pid 4711 \\
                --nodes 50 --resolution 15s --pods 100 --containers 1 --metrics 23

The JSON has: the shape; samples and frames sent and acknowledged each second; bytes a sample;
whether the player kept up (\"kept_up\") and how late its frames left and were acknowledged; CPU
seconds in and outside the kernel, microseconds an entity and cycle, context switches and memory of
the aggregator, and what the player itself took; freshness (from the reading on a node until REST
shows it); the memory of the aggregator in ten parts of the time, each with how many
pods there were so far; what happened to nodes, pods and containers; and with --query latencies of each kind of
question. When the player or the aggregator did not keep up (\"sustained\" is false), there is no
share of a core, and the status is 1.

Each node is a connection, so an open file: the limit is raised when it is too low.";

impl Arguments {
    /// Threads that play the nodes.
    pub fn threads(&self) -> usize {
        let cores = || thread::available_parallelism().map_or(1, usize::from);
        self.threads
            .map_or_else(|| cores().div_ceil(2), |count| usize::try_from(count).unwrap_or(1))
    }

    /// The cluster to play.
    pub fn shape(&self) -> Shape {
        Shape {
            seed: self.seed,
            nodes: self.nodes,
            pods: self.pods,
            containers: self.containers,
            free_containers: self.free_containers,
            namespaces: self.namespaces,
            metrics: self.metrics,
            churn_ppm: self.churn.ppm,
            resolution_s: self.resolution.seconds(),
        }
    }

    /// What happens to it.
    pub fn weather(&self) -> Weather {
        Weather { late_ppm: self.late.ppm, restarts_ppm: self.restarts.ppm }
    }
}

fn metrics(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if (1..=METRICS_MOST).contains(&count) => Ok(count),
        _ => Err(format!("it is a number from 1 to {METRICS_MOST}")),
    }
}

#[expect(clippy::as_conversions, reason = "between 0 and a million, as was just checked")]
fn percent(text: &str) -> Result<Percent, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => {
            Ok(Percent { ppm: (percent * 1e4).round() as u64 })
        }
        _ => Err("it is a number from 0 to 100".to_owned()),
    }
}

fn resolution(text: &str) -> Result<Resolution, String> {
    Resolution::from_seconds(seconds(text)?).map_err(|bad| bad.to_string())
}

fn acknowledge_within(text: &str) -> Result<Duration, String> {
    let within = Duration::from_secs(seconds(text)?);
    let most = Duration::from_millis(u64::from(ACKNOWLEDGE_WITHIN_MS));
    if most < within { Err(format!("it is at most {most:?}")) } else { Ok(within) }
}

fn seconds(text: &str) -> Result<u64, &'static str> {
    let number = text.strip_suffix('s').unwrap_or(text);
    number.parse().map_err(|_| "it is a number of seconds, such as 15s")
}

#[cfg(test)]
mod tests {
    use std::fmt::Debug;

    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(["tally-swarm"].into_iter().chain(line.split_whitespace()))
    }

    #[track_caller]
    fn check<T: PartialEq + Debug>(flag: &str, field: fn(&Arguments) -> T, expected: T) {
        let parsed = parse(&format!("--spawn x {flag}")).unwrap();
        assert_eq!(field(&parsed), expected, "{flag}");
        let default = parse("--spawn x").unwrap();
        assert_ne!(field(&default), expected, "{flag} is the default: that shows nothing");
    }

    #[track_caller]
    fn check_refused(flag: &str, because: &str) {
        let error = parse(&format!("--spawn x {flag}")).expect_err(flag).to_string();
        assert!(error.contains(because), "{flag}: {error}");
    }

    #[test]
    fn every_flag_says_one_thing() {
        check("--nodes 7", |said| said.shape().nodes, 7);
        check("--pods 7", |said| said.shape().pods, 7);
        check("--containers 7", |said| said.shape().containers, 7);
        check("--free-containers 7", |said| said.shape().free_containers, 7);
        check("--namespaces 7", |said| said.shape().namespaces, 7);
        check("--metrics 7", |said| said.shape().metrics, 7);
        check("--churn 0.5", |said| said.shape().churn_ppm, 5_000);
        check("--restarts 0.07", |said| said.weather().restarts_ppm, 700);
        check("--late 100", |said| said.weather().late_ppm, 1_000_000);
        check("--seed 7", |said| said.shape().seed, 7);
        check("--resolution 15s", |said| said.shape().resolution_s, 15);
        check("--jitter 7", |said| said.jitter, 7);
        check("--acknowledge-within 7s", |said| said.acknowledge_within.as_secs(), 7);
        check("--threads 7", Arguments::threads, 7);
        check("--warm-up 7", |said| said.warm_up, 7);
        check("--ticks 7", |said| said.ticks, 7);
        check("--flat-out", |said| said.flat_out, true);
        check("--query", |said| said.query, true);
        check("--model-window 1h", |said| said.model_window.clone(), "1h".to_owned());
        check("--history-dir /h", |said| said.history_dir.clone(), Some("/h".into()));
    }

    #[test]
    fn an_aggregator_that_runs_already_is_named_by_its_addresses() {
        let said = parse("--aggregator http://x:1 --rest http://x:2 --pid 7").unwrap();
        assert_eq!(said.aggregator.as_deref(), Some("http://x:1"));
        assert_eq!(said.rest.as_deref(), Some("http://x:2"));
        assert_eq!((said.pid, said.spawn), (Some(7), None));
    }

    #[test]
    fn there_must_be_an_aggregator_and_only_one() {
        assert!(parse("").is_err());
        check_refused("--aggregator http://x", "cannot be used with");
        check_refused("--rest http://x", "cannot be used with");
        check_refused("--pid 7", "cannot be used with");
    }

    #[test]
    fn what_cannot_be_played_is_refused() {
        check_refused("--metrics 0", "from 1 to");
        check_refused("--metrics 24", "from 1 to");
        check_refused("--churn 101", "from 0 to 100");
        check_refused("--late nan", "from 0 to 100");
        check_refused("--late 1 --flat-out", "cannot be used with");
        check_refused("--query --flat-out", "cannot be used with");
        check_refused("--threads 0", "0 is not in");
        check_refused("--resolution 0s", "");
        check_refused("--acknowledge-within 61s", "at most 60s");
    }

    #[test]
    fn every_flag_is_tested_here() {
        let tested = include_str!("arguments.rs").split_once("mod tests").unwrap().1;
        for argument in Arguments::command().get_arguments() {
            let Some(flag) = argument.get_long() else { continue };
            assert!(tested.contains(&format!("--{flag}")), "--{flag} is not tested");
        }
    }
}

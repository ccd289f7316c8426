//! Flags and their environment variables, checked all at once.
//!
//! clap collects the texts and writes the help; [`Settings::check`] is pure and reports every
//! fault together, each with its flag, so that nobody has to start the program five times.

pub mod secure;
pub(crate) mod stored_labels;

use std::{
    env,
    fmt::{self, Display},
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

use clap::{Parser, Subcommand};
use tally_proto::{limits::ENTITIES_PER_NODE, tick::Resolution};

use self::secure::{SecureFlags, SecureSettings};
use crate::{
    history::store::Retention,
    history_command::HistoryFlags,
    history_dir::default_history_dir,
    inventory::LabelForm,
    telemetry::{self, LogFormat},
};

/// Points of one series that the live model keeps at most: an hour at one second.
const WINDOW_TICKS_MOST: u64 = 3_600;
/// More streams than this and the descriptors of one process run out.
const STREAMS_MOST: u64 = 100_000;
/// A clock that is further off than this is broken, not skewed.
const CLOCK_SKEW_MOST: Duration = Duration::from_secs(3600);
const DAY_S: u64 = 86_400;
/// Less is what the live model is for.
const RETENTION_LEAST: Duration = Duration::from_secs(3600);
/// Ten years: a number beyond this is a slip.
const RETENTION_MOST: Duration = Duration::from_secs(3650 * DAY_S);
/// Room for the journal of a minute of a thousand nodes, and for a day of one.
const HISTORY_BYTES_LEAST: u64 = 64 << 20;

/// Takes the streams of all agents, rolls them up, and answers over REST.
#[derive(Clone, Debug, Parser)]
#[command(name = "tally-aggregator", version, max_term_width = 100)]
pub struct Flags {
    /// Address and port for HTTP: the model API, metric-export, /healthz, /metrics
    #[arg(long, value_name = "IP:PORT", env = "TALLY_AGGREGATOR_REST_LISTEN")]
    #[arg(default_value = "127.0.0.1:8082")]
    pub rest_listen: String,

    /// Address and port for the agents' gRPC streams
    #[arg(long, value_name = "IP:PORT", env = "TALLY_AGGREGATOR_GRPC_LISTEN")]
    #[arg(default_value = "127.0.0.1:8083")]
    pub grpc_listen: String,

    /// The secure port.
    #[command(flatten)]
    pub secure: SecureFlags,

    /// Allow unencrypted addresses other than loopback: everybody who reaches them can read all
    /// metrics and pretend to be any node
    #[arg(long, env = "TALLY_AGGREGATOR_ALLOW_PLAINTEXT_ON_NETWORK")]
    pub allow_plaintext_on_network: bool,

    /// Time between two samples, the same for all agents: whole seconds, 1s to 1h
    #[arg(long, value_name = "TIME", env = "TALLY_AGGREGATOR_RESOLUTION", default_value = "15s")]
    pub resolution: String,

    /// How far back the live model reaches, at most 3600 samples
    #[arg(long, value_name = "TIME", env = "TALLY_AGGREGATOR_MODEL_WINDOW", default_value = "15m")]
    pub model_window: String,

    /// Directory for history, owned by one aggregator. Not set: /var/lib/tally-aggregator for root,
    /// else $XDG_STATE_HOME/tally-aggregator or ~/.local/state/tally-aggregator
    #[arg(long, value_name = "DIR", env = "TALLY_AGGREGATOR_HISTORY_DIR")]
    pub history_dir: Option<PathBuf>,

    /// Keep no history: frames are acknowledged once they are in memory, and a restart begins empty
    #[arg(long, env = "TALLY_AGGREGATOR_NO_HISTORY", conflicts_with = "history_dir")]
    pub no_history: bool,

    /// How far back history reaches: 1h to 3650d. Values as they were sampled are kept for a tenth
    /// of that, but at least 30d, buckets of 5 minutes for a third, but at least 120d
    #[arg(
        long,
        value_name = "TIME",
        env = "TALLY_AGGREGATOR_HISTORY_RETENTION",
        default_value = "400d"
    )]
    pub history_retention: String,

    /// Size of that directory, in bytes or with KiB, MiB, GiB or TiB; at least 64MiB. Beyond it the
    /// oldest goes: first values as they were sampled, then the buckets made of them
    #[arg(
        long,
        value_name = "SIZE",
        env = "TALLY_AGGREGATOR_HISTORY_MAX_BYTES",
        default_value = "20GiB"
    )]
    pub history_max_bytes: String,

    /// File with a Kubernetes LIST answer of nodes, pods or namespaces in JSON; repeatable (in the
    /// environment: separated by commas). Read at the start and again on SIGHUP, instead of an API
    /// server
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_INVENTORY", value_delimiter = ',')]
    pub inventory: Vec<PathBuf>,

    /// Watch the API server that this kubeconfig file names. Not set: within Kubernetes the one of
    /// the pod's service account, outside none
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_KUBECONFIG")]
    #[arg(conflicts_with = "inventory")]
    pub kubeconfig: Option<PathBuf>,

    /// Watch no API server, not even within Kubernetes
    #[arg(long, env = "TALLY_AGGREGATOR_NO_KUBERNETES", conflicts_with = "kubeconfig")]
    pub no_kubernetes: bool,

    /// What stands between two Kubernetes labels where they are one text
    #[arg(long, value_name = "TEXT", env = "TALLY_AGGREGATOR_LABEL_SEPARATOR")]
    #[arg(default_value = ",")]
    pub label_separator: String,

    /// Kubernetes label to leave out there (repeatable; in the environment: separated by commas)
    #[arg(
        long,
        value_name = "LABEL",
        env = "TALLY_AGGREGATOR_IGNORE_LABEL",
        value_delimiter = ','
    )]
    pub ignore_label: Vec<String>,

    /// Kubernetes label of pods and nodes that history stores as a label of its own, under its name or
    /// a new one, for `history export`: app, or zone=topology.kubernetes.io/zone (repeatable; in
    /// the environment: separated by commas)
    #[arg(
        long,
        value_name = "[NEW=]OLD",
        env = "TALLY_AGGREGATOR_STORE_LABEL",
        value_delimiter = ','
    )]
    pub store_label: Vec<String>,

    /// Agents' streams open at once; more are refused
    #[arg(long, value_name = "N", env = "TALLY_AGGREGATOR_MAX_STREAMS", default_value = "6000")]
    pub max_streams: String,

    /// Pods, containers and services that one node may declare, at most 20000
    #[arg(long, value_name = "N", env = "TALLY_AGGREGATOR_MAX_ENTITIES_PER_NODE")]
    #[arg(default_value = "20000")]
    pub max_entities_per_node: String,

    /// How far a frame may be ahead of this host's clock, at most 1h
    #[arg(
        long,
        value_name = "TIME",
        env = "TALLY_AGGREGATOR_MAX_CLOCK_SKEW",
        default_value = "60s"
    )]
    pub max_clock_skew: String,

    /// What to log: error, warn, info, debug, trace, or a filter such as info,tally_aggregator=debug
    #[arg(long, value_name = "FILTER", env = "TALLY_AGGREGATOR_LOG", default_value = "info")]
    pub log: String,

    /// How to log
    #[arg(
        long,
        value_name = "FORMAT",
        env = "TALLY_AGGREGATOR_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What the program does instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Look at history on disk, check it, or export it; works beside a running aggregator
    History(HistoryFlags),
}

/// What the program runs with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Address of the HTTP side.
    pub rest_listen: SocketAddr,
    /// Address of the gRPC side.
    pub grpc_listen: SocketAddr,
    /// The secure port, where there is to be one.
    pub secure: Option<SecureSettings>,
    /// Time between two samples.
    pub resolution: Resolution,
    /// How far back the live model reaches.
    pub model_window: Duration,
    /// Where history is kept, and how much of it; `None` for none.
    pub history: Option<HistorySettings>,
    /// Files of LIST answers.
    pub inventory: Vec<PathBuf>,
    /// Which API server is watched.
    pub kubernetes: ApiServer,
    /// How labels become one text, and which are stored as labels of their own.
    pub labels: LabelForm,
    /// Streams open at once.
    pub max_streams: usize,
    /// Entities of one node.
    pub max_entities_per_node: u32,
    /// How far a frame may be ahead of this clock.
    pub max_clock_skew: Duration,
}

/// Which API server is watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiServer {
    /// None.
    None,
    /// That of the Kubernetes we run in; none where we do not.
    Own,
    /// The one that a kubeconfig file names.
    Kubeconfig(PathBuf),
}

/// History on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistorySettings {
    /// The directory.
    pub directory: PathBuf,
    /// How much is kept.
    pub retention: Retention,
}

/// Everything that is wrong with the flags, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Faults(Vec<String>);

impl Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for Faults {}

impl Faults {
    /// The value, or a fault and the value that lets the check go on.
    fn collect<T>(&mut self, flag: &str, value: Result<T, String>, otherwise: T) -> T {
        value.unwrap_or_else(|problem| {
            self.0.push(format!("{flag}: {problem}"));
            otherwise
        })
    }
}

impl Settings {
    /// Checks all flags, and reports all faults together.
    pub fn check(flags: &Flags) -> Result<Self, Faults> {
        let mut faults = Faults::default();
        let wide = flags.allow_plaintext_on_network;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let rest = listen(&flags.rest_listen, wide);
        let grpc = listen(&flags.grpc_listen, wide);
        let log = telemetry::filter(&flags.log).map(drop);
        faults.collect("--log", log.map_err(|bad| bad.to_string()), ());
        let entities = (&*flags.max_entities_per_node, u64::from(ENTITIES_PER_NODE));
        let resolution =
            faults.collect("--resolution", resolution(&flags.resolution), Resolution::DEFAULT);
        let window = window(&flags.model_window, resolution);
        let retention = Retention::default();
        let age = history_retention(&flags.history_retention);
        let retention = faults.collect("--history-retention", age, retention);
        let size = size(&flags.history_max_bytes);
        let bytes = faults.collect("--history-max-bytes", size, 0);
        let history = flags.history_directory().map(|directory| {
            directory.map(|directory| HistorySettings {
                directory,
                retention: Retention { bytes, ..retention },
            })
        });
        let history = faults.collect("--history-dir", history.transpose(), None);
        let kubernetes = flags.api_server();
        let secure = flags.secure.check(&kubernetes, &mut faults);
        let stored = stored_labels::check(&flags.store_label, &mut faults);
        let settings = Self {
            secure,
            rest_listen: faults.collect("--rest-listen", rest, nowhere),
            grpc_listen: faults.collect("--grpc-listen", grpc, nowhere),
            resolution,
            model_window: faults.collect("--model-window", window, Duration::ZERO),
            history,
            inventory: flags.inventory.clone(),
            kubernetes,
            labels: LabelForm {
                separator: flags.label_separator.clone(),
                ignored: flags.ignore_label.iter().cloned().collect(),
                stored,
            },
            max_streams: faults.collect(
                "--max-streams",
                count(&flags.max_streams, STREAMS_MOST),
                1,
            ),
            max_entities_per_node: faults.collect(
                "--max-entities-per-node",
                count(entities.0, entities.1),
                1,
            ),
            max_clock_skew: faults.collect(
                "--max-clock-skew",
                clock_skew(&flags.max_clock_skew),
                Duration::ZERO,
            ),
        };
        if faults.0.is_empty() { Ok(settings) } else { Err(faults) }
    }
}

impl Flags {
    /// Files are read instead of what an API server says, and not beside it.
    fn api_server(&self) -> ApiServer {
        match &self.kubeconfig {
            Some(file) => ApiServer::Kubeconfig(file.clone()),
            None if self.no_kubernetes || !self.inventory.is_empty() => ApiServer::None,
            None => ApiServer::Own,
        }
    }

    /// Where history is kept; `None` for nowhere.
    fn history_directory(&self) -> Option<Result<PathBuf, String>> {
        if self.no_history {
            return None;
        }
        let usual =
            || default_history_dir(rustix::process::geteuid().is_root(), |name| env::var_os(name));
        let directory = self.history_dir.clone().or_else(usual);
        Some(directory.ok_or_else(|| {
            "there is no home directory to keep history in: name a directory, or start with \
             --no-history"
                .to_owned()
        }))
    }
}

/// How long each tier is kept when history reaches back so far.
fn history_retention(text: &str) -> Result<Retention, String> {
    let time = duration(text)?;
    if !(RETENTION_LEAST..=RETENTION_MOST).contains(&time) {
        return Err(format!("{text} is not within 1h and 3650d"));
    }
    let seconds = time.as_secs();
    let part = |parts: u64, least_days: u64| (seconds / parts).max(least_days * DAY_S).min(seconds);
    let (raw_s, five_minutes_s) = (part(10, 30), part(3, 120));
    Ok(Retention { raw_s, five_minutes_s, hour_s: seconds, bytes: 0 })
}

/// A number of bytes with its unit: `64MiB`, `20GiB`.
fn size(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let shift = match unit {
        "" => Some(0),
        "KiB" => Some(10),
        "MiB" => Some(20),
        "GiB" => Some(30),
        "TiB" => Some(40),
        _ => None,
    };
    let bytes = number.parse().ok().zip(shift);
    let bytes = bytes.and_then(|(number, shift): (u64, u32)| number.checked_mul(1 << shift));
    match bytes {
        Some(bytes) if HISTORY_BYTES_LEAST <= bytes => Ok(bytes),
        Some(_) => Err(format!("{text} is less than 64MiB")),
        None => Err(format!("{text:?} is no size, such as 500MiB or 20GiB")),
    }
}

fn listen(text: &str, wide: bool) -> Result<SocketAddr, String> {
    let numeric = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let address: SocketAddr = numeric.as_deref().unwrap_or(text).parse().map_err(|_| {
        format!("{text:?} is no IP address and port, such as 127.0.0.1:8082 or [::1]:8082")
    })?;
    if address.ip().is_loopback() || wide {
        return Ok(address);
    }
    Err(format!(
        "{address} can be reached from the network and is not encrypted; listen on 127.0.0.1, or \
         accept that with --allow-plaintext-on-network"
    ))
}

fn resolution(text: &str) -> Result<Resolution, String> {
    let time = duration(text)?;
    if time.subsec_nanos() != 0 {
        return Err(format!("{text} is no whole number of seconds"));
    }
    Resolution::from_seconds(time.as_secs()).map_err(|bad| bad.to_string())
}

fn window(text: &str, resolution: Resolution) -> Result<Duration, String> {
    let time = duration(text)?;
    let seconds = u64::from(resolution.seconds());
    let (least, most) = (seconds, seconds * WINDOW_TICKS_MOST);
    if (least..=most).contains(&time.as_secs()) {
        Ok(time)
    } else {
        Err(format!("{text} is not within {least}s and {most}s, 1 to {WINDOW_TICKS_MOST} samples"))
    }
}

fn clock_skew(text: &str) -> Result<Duration, String> {
    let time = duration(text)?;
    if time <= CLOCK_SKEW_MOST { Ok(time) } else { Err(format!("{text} is more than 1h")) }
}

fn count<T: TryFrom<u64>>(text: &str, most: u64) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    let number = number.and_then(|number: u64| T::try_from(number).ok());
    number.ok_or_else(|| format!("{text:?} is no number from 1 to {most}"))
}

/// A number with its unit: `500ms`, `15s`, `15m`, `1h`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => 0,
    };
    let ms = number.parse().ok().and_then(|number: u64| number.checked_mul(unit_ms));
    match ms {
        Some(ms) if unit_ms != 0 => Ok(Duration::from_millis(ms)),
        _ => Err(format!("{text:?} is no time with a unit, such as 500ms, 15s, 15m or 1h")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn check(arguments: &[&str]) -> Result<Settings, Vec<String>> {
        let arguments = ["tally-aggregator"].iter().chain(arguments);
        let flags = Flags::try_parse_from(arguments).unwrap();
        Settings::check(&flags).map_err(|faults| faults.0)
    }

    #[track_caller]
    fn check_fault(arguments: &[&str], expected: &str) {
        let faults = check(arguments).expect_err("a fault");
        assert!(faults.len() == 1 && faults[0].starts_with(expected), "{faults:?}");
    }

    #[test]
    fn every_flag_has_a_variable_and_help() {
        check_variables(&Flags::command(), "TALLY_AGGREGATOR");
        Flags::command().debug_assert();
    }

    /// Variables of a subcommand's flags have its name before theirs; what is the same for several
    /// subcommands has one variable.
    fn check_variables(command: &clap::Command, prefix: &str) {
        for argument in command.get_arguments() {
            let name = argument.get_id().as_str();
            let of = if name == "history_dir" { "TALLY_AGGREGATOR" } else { prefix };
            let variable = format!("{of}_{}", name.to_uppercase());
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(&*variable));
            assert!(argument.get_help().is_some(), "{name}");
        }
        for command in command.get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            check_variables(command, &format!("{prefix}_{}", command.get_name().to_uppercase()));
        }
    }

    #[test]
    fn the_defaults_are_valid_and_local() {
        let settings = check(&[]).unwrap();
        assert_eq!(settings.rest_listen, "127.0.0.1:8082".parse().unwrap());
        assert_eq!(settings.grpc_listen, "127.0.0.1:8083".parse().unwrap());
        assert_eq!(settings.resolution, Resolution::DEFAULT);
        assert_eq!(settings.model_window, Duration::from_secs(900));
    }

    #[test]
    fn all_faults_are_reported_at_once() {
        let bad =
            ["--rest-listen", "x", "--resolution", "0s", "--max-streams", "0", "--log", "a=b"];
        assert_eq!(check(&bad).expect_err("faults").len(), 4);
    }

    #[test]
    fn the_network_needs_a_word_of_consent() {
        check_fault(
            &["--rest-listen", "0.0.0.0:8082"],
            "--rest-listen: 0.0.0.0:8082 can be reached from the network and is not encrypted",
        );
        let wide = check(&["--grpc-listen", "[::]:8083", "--allow-plaintext-on-network"]).unwrap();
        assert_eq!(wide.grpc_listen, "[::]:8083".parse().unwrap());
        let local = check(&["--grpc-listen", "localhost:1", "--rest-listen", "[::1]:2"]).unwrap();
        assert_eq!(local.grpc_listen, "127.0.0.1:1".parse().unwrap());
    }

    #[test]
    fn an_api_server_is_watched_unless_files_stand_in_or_none_is_wanted() {
        let watched = |arguments: &[&str]| check(arguments).unwrap().kubernetes;
        assert_eq!(watched(&[]), ApiServer::Own);
        assert_eq!(watched(&["--kubeconfig", "/k"]), ApiServer::Kubeconfig("/k".into()));
        assert_eq!(watched(&["--no-kubernetes"]), ApiServer::None);
        assert_eq!(watched(&["--inventory", "/pods.json"]), ApiServer::None);
        for other in [&["--no-kubernetes"][..], &["--inventory", "/pods.json"]] {
            let arguments = ["tally-aggregator", "--kubeconfig", "/k"].iter().chain(other);
            assert!(Flags::try_parse_from(arguments).is_err(), "{other:?}");
        }
    }

    #[test]
    fn labels_are_joined_by_commas_unless_told_otherwise() {
        assert_eq!(check(&[]).unwrap().labels, LabelForm::default());
        let flags = ["--label-separator", ";", "--ignore-label", "a", "--ignore-label", "b,c"];
        let form = check(&flags).unwrap().labels;
        assert_eq!(form.separator, ";");
        assert_eq!(form.ignored, ["a", "b", "c"].map(str::to_owned).into());
    }

    #[test]
    fn labels_are_stored_under_their_names_or_new_ones() {
        let flags = ["--store-label", "app", "--store-label", "zone=topology.kubernetes.io/zone,b"];
        let stored = [("app", "app"), ("b", "b"), ("topology.kubernetes.io/zone", "zone")];
        let stored = stored.map(|(label, name)| (label.to_owned(), name.to_owned())).into();
        assert_eq!(check(&flags).unwrap().labels.stored, stored);
        check_fault(
            &["--store-label", "pod"],
            "--store-label: exports of history have a label pod",
        );
    }

    #[test]
    fn history_is_on_unless_it_is_not_wanted() {
        let history = |arguments: &[&str]| check(arguments).unwrap().history;
        assert_eq!(history(&["--no-history"]), None);
        let kept = history(&["--history-dir", "/h", "--history-retention", "400d"]).unwrap();
        assert_eq!(kept.directory, PathBuf::from("/h"));
        let Retention { raw_s, five_minutes_s, hour_s, bytes } = kept.retention;
        assert_eq!(
            [raw_s, five_minutes_s, hour_s],
            [40, 133, 400].map(|days| days * DAY_S + if days == 133 { DAY_S / 3 } else { 0 })
        );
        assert_eq!(bytes, 20 << 30);
        let short = history(&["--history-dir", "/h", "--history-retention", "7d"]).unwrap();
        assert_eq!(short.retention.raw_s, 7 * DAY_S);
    }

    #[test]
    fn times_have_units_and_limits() {
        check_fault(&["--resolution", "15"], "--resolution: \"15\" is no time with a unit");
        check_fault(&["--resolution", "1500ms"], "--resolution: 1500ms is no whole number");
        check_fault(&["--resolution", "2h"], "--resolution: a resolution is");
        check_fault(&["--model-window", "10s"], "--model-window: 10s is not within 15s and 54000s");
        check_fault(&["--model-window", "99999999999999999999h"], "--model-window: ");
        check_fault(&["--history-retention", "10m"], "--history-retention: 10m is not within 1h");
        check_fault(&["--history-max-bytes", "1MiB"], "--history-max-bytes: 1MiB is less than");
        check_fault(&["--history-max-bytes", "5GB"], "--history-max-bytes: \"5GB\" is no size");
        check_fault(&["--max-clock-skew", "2h"], "--max-clock-skew: 2h is more than 1h");
        check_fault(&["--max-entities-per-node", "20001"], "--max-entities-per-node: ");
    }
}

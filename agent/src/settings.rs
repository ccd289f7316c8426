//! The agent's settings: flags, each with an environment variable, checked once.
//!
//! Flags come in as text and are checked here, not one by one as they are parsed, so that a
//! person who made three mistakes reads of three.

mod flags;
mod units;

use std::{
    ffi::{OsStr, OsString},
    fmt,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    time::Duration,
};

use clap::Parser as _;
use tally_proto::{
    name::NodeName,
    tick::{BadResolution, Resolution},
};
use tonic::{codegen::http::uri::InvalidUri, transport::Uri};

pub use self::flags::{FlagRow, Flags, flag_table};
use self::units::{BadBytes, BadSeconds};
use crate::{
    outbox::Limits,
    runtimes::Places,
    spool,
    telemetry::{LogFormat, chain, parse_filter},
};

/// What the agent does.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where the aggregator listens.
    pub aggregator: Uri,
    /// The node's name, if it was given.
    pub node: Option<NodeName>,
    /// Time between ticks.
    pub resolution: Resolution,
    /// Where the root of the measured host is mounted.
    pub host_root: PathBuf,
    /// Sockets of runtimes that speak CRI.
    pub cri_sockets: Places,
    /// Sockets of Docker and podman.
    pub docker_sockets: Places,
    /// Time between two looks at what pods and containers have on disk; `None` when nobody looks.
    pub disk_usage_interval: Option<Duration>,
    /// The kubelet's directory on the host.
    pub kubelet_dir: PathBuf,
    /// Where the logs of its pods are.
    pub pod_logs_dir: PathBuf,
    /// How much waits for an acknowledgement in memory.
    pub outbox: Limits,
    /// Where more of it waits on disk.
    pub spool_dir: SpoolDir,
    /// How much waits there.
    pub spool: spool::Limits,
    /// Whether to count the running tasks of each container.
    pub container_load: bool,
    /// Whether to print one reading and end.
    pub once: bool,
    /// What is logged.
    pub log: String,
    /// How log lines look.
    pub log_format: LogFormat,
}

/// Where frames are kept on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolDir {
    /// At [`SPOOL_DIR`] if that can be used, else nowhere.
    Usual,
    /// Nowhere: in memory only.
    Nowhere,
    /// Here, as soon as it can be used.
    At(PathBuf),
}

/// Where a system service keeps its state.
pub const SPOOL_DIR: &str = "/var/lib/tally-agent";

/// Everything that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(pub Vec<String>);

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the settings are not valid:")?;
        self.0.iter().try_for_each(|fault| write!(out, "\n  {fault}"))
    }
}

impl std::error::Error for Faults {}

#[derive(Debug, thiserror::Error)]
enum BadAggregator {
    #[error("it must begin with http://, this version speaks no TLS")]
    Scheme,
    #[error("it has no host")]
    Host,
    #[error("it is no URL")]
    Url(#[from] InvalidUri),
}

#[derive(Debug, thiserror::Error)]
enum BadNumber {
    #[error("it is no time")]
    Seconds(#[from] BadSeconds),
    #[error("it is no size")]
    Bytes(#[from] BadBytes),
    #[error(transparent)]
    Resolution(#[from] BadResolution),
    #[error("it must be a number from {least} to {most}")]
    Range { least: u64, most: u64 },
}

#[derive(Debug, thiserror::Error)]
#[error("it must be {0}")]
struct NotOneOf(&'static str);

/// Minutes in an outbox: at most a day, as it is in memory.
const OUTBOX_MINUTES: (u64, u64) = (1, 1440);

/// Bytes of an outbox: room for a few frames of a large host, and no more than a host can spare.
const OUTBOX_BYTES: (u64, u64) = (64 << 10, 1 << 30);

/// Bytes of a spool: a few segments, and what a large disk has.
const SPOOL_BYTES: (u64, u64) = (4 << 20, 1 << 40);

/// Seconds between two looks at what is on disk: runtimes measure layers each 10 s themselves.
const DISK_USAGE_SECONDS: (u64, u64) = (10, 3600);

/// Seconds that a spool reaches back: a minute to a year.
const SPOOL_SECONDS: (u64, u64) = (60, 366 * 86_400);

impl Settings {
    /// Checks all flags; says all that is wrong, not only the first.
    pub fn check(flags: Flags) -> Result<Self, Faults> {
        let mut faults = Faults(Vec::new());
        let resolution = faults.keep("--resolution", &flags.resolution, resolution);
        let disk_usage_interval =
            faults.keep("--disk-usage-interval", &flags.disk_usage_interval, interval_or_off);
        let minutes = faults.keep("--outbox-minutes", &flags.outbox_minutes, minutes);
        let bytes = faults.keep("--outbox-bytes", &flags.outbox_bytes, outbox_bytes);
        let spool_bytes = faults.keep("--spool-max-bytes", &flags.spool_max_bytes, spool_bytes);
        let spool_age = faults.keep("--spool-max-age", &flags.spool_max_age, spool_age);
        let aggregator = faults.keep("--aggregator", &flags.aggregator, http_url);
        let node = flags.node.or(flags.node_name).unwrap_or_default();
        let node = faults.keep("--node", &node, NodeName::parse_optional);
        let container_load = faults.keep("--container-load", &flags.container_load, yes_or_no);
        let once = faults.keep("--once", &flags.once, yes_or_no);
        let log = faults.keep("--log", &flags.log, |text| parse_filter(text).map(|_| ()));
        let log_format = faults.keep("--log-format", &flags.log_format, log_format);
        let checked = || {
            let resolution = resolution?;
            Some(Self {
                aggregator: aggregator?,
                node: node?,
                resolution,
                host_root: flags.host_root,
                cri_sockets: places(flags.cri_sockets),
                docker_sockets: places(flags.docker_sockets),
                disk_usage_interval: disk_usage_interval?,
                kubelet_dir: flags.kubelet_dir,
                pod_logs_dir: flags.pod_logs_dir,
                outbox: Limits { frames: frames_in(minutes?, resolution), bytes: bytes? },
                spool_dir: spool_dir(flags.spool_dir),
                spool: spool::Limits {
                    bytes: spool_bytes?,
                    age_s: spool_age?,
                    segment_bytes: spool::SEGMENT_BYTES,
                },
                container_load: container_load?,
                once: once?,
                log: log.map(|()| flags.log)?,
                log_format: log_format?,
            })
        };
        if faults.0.is_empty() { checked().ok_or(faults) } else { Err(faults) }
    }

    /// What is used where nothing is set.
    pub fn defaults() -> Result<Self, Faults> {
        let flags = Flags::try_parse_from(["tally-agent"])
            .map_err(|error| Faults(vec![error.to_string()]))?;
        Self::check(flags)
    }
}

impl Faults {
    fn keep<T, E: std::error::Error>(
        &mut self,
        flag: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        match parse(text) {
            Ok(value) => Some(value),
            Err(error) => {
                self.0.push(format!("{flag} {text:?}: {}", chain(&error)));
                None
            }
        }
    }
}

fn http_url(text: &str) -> Result<Uri, BadAggregator> {
    let uri: Uri = text.parse()?;
    if uri.scheme_str() != Some("http") {
        return Err(BadAggregator::Scheme);
    }
    if uri.host().is_none_or(str::is_empty) {
        return Err(BadAggregator::Host);
    }
    Ok(uri)
}

fn resolution(text: &str) -> Result<Resolution, BadNumber> {
    Ok(Resolution::from_seconds(units::seconds(text)?)?)
}

fn interval_or_off(text: &str) -> Result<Option<Duration>, BadNumber> {
    if matches!(text, "off" | "0" | "0s") {
        return Ok(None);
    }
    Ok(Some(Duration::from_secs(within(units::seconds(text)?, DISK_USAGE_SECONDS)?)))
}

fn minutes(text: &str) -> Result<u64, BadNumber> {
    let (least, most) = OUTBOX_MINUTES;
    let minutes = text.parse().map_err(|_| BadNumber::Range { least, most })?;
    within(minutes, OUTBOX_MINUTES)
}

fn outbox_bytes(text: &str) -> Result<usize, BadNumber> {
    let bytes = within(units::bytes(text)?, OUTBOX_BYTES)?;
    usize::try_from(bytes).map_err(|_| BadNumber::Bytes(BadBytes))
}

fn spool_dir(path: Option<OsString>) -> SpoolDir {
    match path {
        None => SpoolDir::Usual,
        Some(path) if path.is_empty() => SpoolDir::Nowhere,
        Some(path) => SpoolDir::At(path.into()),
    }
}

fn places(paths: Option<OsString>) -> Places {
    let Some(paths) = paths else { return Places::Usual };
    let each = paths.as_bytes().split(|byte| *byte == b',').filter(|path| !path.is_empty());
    Places::At(each.map(|path| OsStr::from_bytes(path).into()).collect())
}

fn spool_bytes(text: &str) -> Result<u64, BadNumber> {
    within(units::bytes(text)?, SPOOL_BYTES)
}

fn spool_age(text: &str) -> Result<u64, BadNumber> {
    within(units::seconds(text)?, SPOOL_SECONDS)
}

fn within(number: u64, (least, most): (u64, u64)) -> Result<u64, BadNumber> {
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(BadNumber::Range { least, most })
    }
}

fn frames_in(minutes: u64, resolution: Resolution) -> usize {
    let frames = minutes * 60 / u64::from(resolution.seconds());
    usize::try_from(frames).unwrap_or(usize::MAX).max(1)
}

fn yes_or_no(text: &str) -> Result<bool, NotOneOf> {
    match text {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" | "" => Ok(false),
        _ => Err(NotOneOf("true or false")),
    }
}

fn log_format(text: &str) -> Result<LogFormat, NotOneOf> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(NotOneOf("text or json")),
    }
}

#[cfg(test)]
mod tests;

//! What can be asked, as clap reads it.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::history::file::Tier;

/// What `tally-aggregator history` was asked.
#[derive(Clone, Debug, Args)]
pub struct HistoryFlags {
    /// Directory that history lies in. Not set: /var/lib/tally-aggregator for root, else
    /// $XDG_STATE_HOME/tally-aggregator or ~/.local/state/tally-aggregator
    #[arg(long, value_name = "DIR", env = "TALLY_AGGREGATOR_HISTORY_DIR", global = true)]
    pub history_dir: Option<PathBuf>,

    /// What to do with it.
    #[command(subcommand)]
    pub action: Action,
}

/// What to do with a directory.
#[derive(Clone, Debug, Subcommand)]
pub enum Action {
    /// Show what the directory holds: files, times, samples and entities, by tier
    Inspect(Inspect),
    /// Read every file whole, check all checksums and decode everything; ends with code 1 if
    /// anything is damaged. Changes nothing
    Verify,
    /// Write samples as Parquet, OpenMetrics text or CSV. Counters and gauges come out as they were
    /// sampled; rates only from --tier 5m or 1h, as raw ones are not stored
    Export(Box<Export>),
}

/// What to show.
#[derive(Clone, Debug, Default, Args)]
pub struct Inspect {
    /// Show it as JSON, for scripts
    #[arg(long, env = "TALLY_AGGREGATOR_HISTORY_INSPECT_JSON")]
    pub json: bool,

    /// Show each file too
    #[arg(long, env = "TALLY_AGGREGATOR_HISTORY_INSPECT_FILES")]
    pub files: bool,
}

/// What to export.
#[derive(Clone, Debug, Args)]
pub struct Export {
    /// How it is written
    #[arg(long, value_name = "FORMAT", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_FORMAT")]
    #[arg(default_value = "openmetrics")]
    pub format: Format,

    /// File to write, there only when it is whole. Not set: standard output, which Parquet cannot
    /// be written to
    #[arg(long, value_name = "FILE", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_OUTPUT")]
    pub output: Option<PathBuf>,

    /// How fine: raw samples, or buckets of 5 minutes or an hour with count, min, max and sum
    #[arg(long, value_name = "TIER", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_TIER")]
    #[arg(default_value = "raw")]
    pub tier: TierName,

    /// First time to export, such as 2026-11-23T08:00:00Z. Not set: from the beginning
    #[arg(long, value_name = "TIME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_START")]
    pub start: Option<String>,

    /// Last time to export, itself included. Not set: to the end
    #[arg(long, value_name = "TIME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_END")]
    pub end: Option<String>,

    /// Metric to export, such as memory/usage; repeatable (in the environment: separated by
    /// commas). Not set: all
    #[arg(long, value_name = "NAME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_METRIC")]
    #[arg(value_delimiter = ',')]
    pub metric: Vec<String>,

    /// Kind of entity to export; repeatable (in the environment: separated by commas). Not set: all
    #[arg(long, value_name = "KIND", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_KIND")]
    #[arg(value_delimiter = ',')]
    pub kind: Vec<Kind>,

    /// Only this namespace, its pods and their containers
    #[arg(long, value_name = "NAME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_NAMESPACE")]
    pub namespace: Option<String>,

    /// Only pods of this name and their containers
    #[arg(long, value_name = "NAME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_POD")]
    pub pod: Option<String>,

    /// Only this node and what ran on it
    #[arg(long, value_name = "NAME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_NODE")]
    pub node: Option<String>,

    /// Only containers of this name
    #[arg(long, value_name = "NAME", env = "TALLY_AGGREGATOR_HISTORY_EXPORT_CONTAINER")]
    pub container: Option<String>,
}

/// How samples are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One row a number, compressed
    Parquet,
    /// Text that Prometheus and others read, metric by metric
    Openmetrics,
    /// One line a number
    Csv,
}

/// How fine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TierName {
    /// As sampled
    Raw,
    /// Buckets of five minutes
    #[value(name = "5m")]
    FiveMinutes,
    /// Buckets of an hour
    #[value(name = "1h")]
    Hour,
}

impl TierName {
    /// The tier.
    pub(super) fn tier(self) -> Tier {
        match self {
            Self::Raw => Tier::Raw,
            Self::FiveMinutes => Tier::FiveMinutes,
            Self::Hour => Tier::Hour,
        }
    }
}

/// What an entity is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Sums over everything
    Cluster,
    /// Sums over a namespace
    Namespace,
    /// A host
    Node,
    /// A container or service that no pod owns
    FreeContainer,
    /// A pod
    Pod,
    /// A container of a pod
    PodContainer,
}

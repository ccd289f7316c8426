//! The flags as text, with what `--help` says of each.

use std::{ffi::OsString, path::PathBuf};

use clap::{CommandFactory, Parser};

/// Reads what every container, pod and the node use from the kernel's files, and streams it to
/// the aggregator.
#[derive(Clone, Debug, Parser)]
#[command(name = "tally-agent", version, max_term_width = 100)]
pub struct Flags {
    /// URL of the aggregator's gRPC port; http:// only, so keep it on loopback or a trusted
    /// network.
    #[arg(long, value_name = "URL", env = "TALLY_AGENT_AGGREGATOR")]
    #[arg(default_value = "http://127.0.0.1:8083")]
    pub aggregator: String,

    /// Name of this node, as Kubernetes knows it. Not set: the environment variable NODE_NAME,
    /// else the host's name.
    #[arg(long, value_name = "NAME", env = "TALLY_AGENT_NODE")]
    pub node: Option<String>,

    /// As a DaemonSet sets it from the downward API.
    #[arg(long, hide = true, env = "NODE_NAME")]
    pub node_name: Option<String>,

    /// Time between two readings: whole seconds from 1s to 1h, such as 15, 15s or 1m. Must equal
    /// the aggregator's.
    #[arg(long, value_name = "TIME", env = "TALLY_AGENT_RESOLUTION", default_value = "15s")]
    pub resolution: String,

    /// Where the root directory of the measured host is mounted: /host in a container that
    /// mounts it there.
    #[arg(long, value_name = "PATH", env = "TALLY_AGENT_HOST_ROOT", default_value = "/")]
    pub host_root: PathBuf,

    /// Sockets of runtimes that name pods and their containers by CRI, separated by commas. Not set:
    /// those of containerd, CRI-O, k3s, k0s, MicroK8s and cri-dockerd in their usual places, below
    /// --host-root too; empty: none.
    #[arg(long, value_name = "PATHS", env = "TALLY_AGENT_CRI_SOCKETS")]
    pub cri_sockets: Option<OsString>,

    /// Sockets of Docker and podman, which name the containers that no pod owns, separated by
    /// commas. Not set: those in their usual places, users' own among them, below --host-root
    /// too; empty: none.
    #[arg(long, value_name = "PATHS", env = "TALLY_AGENT_DOCKER_SOCKETS")]
    pub docker_sockets: Option<OsString>,

    /// Time between two looks at what pods and containers have on disk (volumes, writable layers,
    /// logs), with s, m or h; 10s to 1h, or off. Its values are up to that old when they are sent.
    #[arg(long, value_name = "TIME", env = "TALLY_AGENT_DISK_USAGE_INTERVAL")]
    #[arg(default_value = "1m")]
    pub disk_usage_interval: String,

    /// Where the host's kubelet keeps the volumes of its pods.
    #[arg(long, value_name = "PATH", env = "TALLY_AGENT_KUBELET_DIR")]
    #[arg(default_value = "/var/lib/kubelet")]
    pub kubelet_dir: PathBuf,

    /// Where the host's kubelet has runtimes write the logs of its pods.
    #[arg(long, value_name = "PATH", env = "TALLY_AGENT_POD_LOGS_DIR")]
    #[arg(default_value = "/var/log/pods")]
    pub pod_logs_dir: PathBuf,

    /// Minutes of readings that are kept in memory while the aggregator cannot be reached, 1 to
    /// 1440. The oldest are then only in the spool; without one they are dropped, and counted in
    /// agent/frames_dropped.
    #[arg(long, value_name = "MINUTES", env = "TALLY_AGENT_OUTBOX_MINUTES", default_value = "15")]
    pub outbox_minutes: String,

    /// Memory for those readings, in bytes or with KiB, MiB or GiB; 64KiB to 1GiB. Whichever
    /// limit is reached first holds. With a spool little memory is enough.
    #[arg(long, value_name = "SIZE", env = "TALLY_AGENT_OUTBOX_BYTES", default_value = "2MiB")]
    pub outbox_bytes: String,

    /// Folder for readings that wait long for the aggregator, so that they survive a restart of
    /// the agent and of the host. Not set: /var/lib/tally-agent if it can be used; empty: none.
    #[arg(long, value_name = "PATH", env = "TALLY_AGENT_SPOOL_DIR")]
    pub spool_dir: Option<OsString>,

    /// Size of that folder, in bytes or with KiB, MiB or GiB; 4MiB to 1TiB. Beyond it the oldest
    /// readings are dropped, and counted in agent/frames_dropped.
    #[arg(long, value_name = "SIZE", env = "TALLY_AGENT_SPOOL_MAX_BYTES")]
    #[arg(default_value = "256MiB")]
    pub spool_max_bytes: String,

    /// How old readings in that folder may become, with s, m or h; 1m to 1 year. Older ones are
    /// dropped, and counted.
    #[arg(long, value_name = "TIME", env = "TALLY_AGENT_SPOOL_MAX_AGE", default_value = "24h")]
    pub spool_max_age: String,

    /// Whether to count the running tasks of each container (cpu/load), not only of the node.
    /// Costs a file of each task.
    #[arg(long, value_name = "BOOL", env = "TALLY_AGENT_CONTAINER_LOAD", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub container_load: String,

    /// Print one reading of this host as JSON, with rates over one second, and end.
    #[arg(long, value_name = "BOOL", env = "TALLY_AGENT_ONCE", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub once: String,

    /// What to log: error, warn, info, debug or trace, for all or by module, such as
    /// warn,tally_agent::uplink=debug.
    #[arg(long, value_name = "FILTER", env = "TALLY_AGENT_LOG", default_value = "info")]
    pub log: String,

    /// How log lines look: text for people, json for log collectors.
    #[arg(long, value_name = "FORMAT", env = "TALLY_AGENT_LOG_FORMAT", default_value = "text")]
    pub log_format: String,
}

/// What the documentation says of one flag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagRow {
    /// With its dashes.
    pub flag: String,
    /// The environment variable that sets it too.
    pub variable: String,
    /// What holds when neither is given; empty when nothing does.
    pub default: String,
    /// What it is for, with its unit.
    pub help: String,
}

/// Every flag that `--help` shows, in its order, but `--help` and `--version`.
pub fn flag_table() -> Vec<FlagRow> {
    let command = Flags::command();
    let shown = command.get_arguments().filter(|flag| !flag.is_hide_set());
    shown
        .map(|flag| FlagRow {
            flag: format!("--{}", flag.get_long().unwrap_or_default()),
            variable: flag
                .get_env()
                .map(|name| name.to_string_lossy().into_owned())
                .unwrap_or_default(),
            default: flag
                .get_default_values()
                .iter()
                .map(|value| value.to_string_lossy())
                .collect(),
            help: flag.get_help().map(ToString::to_string).unwrap_or_default(),
        })
        .collect()
}

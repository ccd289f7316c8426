//! The flags of the pair. What one program alone has, its own flags and variables still set.

use std::path::PathBuf;

use anyhow::anyhow;
use clap::Parser;

use crate::folder;

/// Stands for the aggregator's address while that is not known.
const ANY_ADDRESS: &str = "127.0.0.1:8083";

/// Measures this host and answers questions about it: aggregator and agent in one process.
///
/// Needs no root; it says what it cannot read. In a terminal it shows a live table; anywhere
/// else it logs.
#[derive(Clone, Debug, Parser)]
#[command(name = "tally", version, max_term_width = 100)]
pub(crate) struct Flags {
    /// Address and port for HTTP: Heapster's model API, metric-export, /metrics, /healthz
    #[arg(long, value_name = "IP:PORT", env = "TALLY_REST_LISTEN")]
    #[arg(default_value = "127.0.0.1:8082")]
    pub(crate) rest_listen: String,

    /// Address and port for agents' gRPC streams
    #[arg(long, value_name = "IP:PORT", env = "TALLY_GRPC_LISTEN")]
    #[arg(default_value = "127.0.0.1:8083")]
    pub(crate) grpc_listen: String,

    /// Allow unencrypted addresses other than loopback: everybody who reaches them can read all
    /// metrics and pretend to be any node
    #[arg(long, env = "TALLY_ALLOW_PLAINTEXT_ON_NETWORK")]
    pub(crate) allow_plaintext_on_network: bool,

    /// Time between two readings: whole seconds from 1s to 1h
    #[arg(long, value_name = "TIME", env = "TALLY_RESOLUTION", default_value = "1s")]
    pub(crate) resolution: String,

    /// How far back the live model reaches
    #[arg(long, value_name = "TIME", env = "TALLY_MODEL_WINDOW", default_value = "15m")]
    pub(crate) model_window: String,

    /// Name of this node; the host's name when not set
    #[arg(long, value_name = "NAME", env = "TALLY_NODE")]
    pub(crate) node: Option<String>,

    /// Where the root directory of the measured host is mounted
    #[arg(long, value_name = "PATH", env = "TALLY_HOST_ROOT", default_value = "/")]
    pub(crate) host_root: PathBuf,

    /// Folder of this pair: its lock, where it listens, its log while the table is shown,
    /// history, and readings that wait for the aggregator; tally in the user's state folder when
    /// not set
    #[arg(long, value_name = "PATH", env = "TALLY_DATA_DIR")]
    pub(crate) data_dir: Option<PathBuf>,

    /// Show no table, but log, as without a terminal
    #[arg(long, env = "TALLY_NO_TABLE")]
    pub(crate) no_table: bool,

    /// What to log: error, warn, info, debug, trace, or a filter
    #[arg(long, value_name = "FILTER", env = "TALLY_LOG", default_value = "info")]
    pub(crate) log: String,
}

impl Flags {
    /// The folder of this pair.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(folder::default_path)
    }

    /// What the aggregator is started with.
    pub(crate) fn aggregator(&self) -> Vec<String> {
        let mut arguments = vec!["tally-aggregator".to_owned()];
        for (flag, value) in [
            ("--rest-listen", &self.rest_listen),
            ("--grpc-listen", &self.grpc_listen),
            ("--resolution", &self.resolution),
            ("--model-window", &self.model_window),
            ("--history-dir", &self.data_dir().join("history").display().to_string()),
        ] {
            arguments.extend([flag.to_owned(), value.clone()]);
        }
        if self.allow_plaintext_on_network {
            arguments.push("--allow-plaintext-on-network".to_owned());
        }
        arguments
    }

    /// What the agent is started with, once the aggregator listens at `grpc`.
    pub(crate) fn agent(&self, grpc: &str) -> Vec<String> {
        let mut arguments = vec!["tally-agent".to_owned()];
        for (flag, value) in [
            ("--aggregator", format!("http://{grpc}")),
            ("--resolution", self.resolution.clone()),
            ("--host-root", self.host_root.display().to_string()),
            ("--spool-dir", self.data_dir().join("spool").display().to_string()),
        ] {
            arguments.extend([flag.to_owned(), value]);
        }
        if let Some(node) = &self.node {
            arguments.extend(["--node".to_owned(), node.clone()]);
        }
        arguments
    }
}

/// The aggregator's settings, once the flags are found valid for both programs.
pub(crate) fn check(flags: &Flags) -> anyhow::Result<tally_aggregator::settings::Settings> {
    let aggregator = aggregator(flags)?;
    agent(flags, ANY_ADDRESS)?;
    Ok(aggregator)
}

/// The agent's settings, once the aggregator listens at `grpc`.
pub(crate) fn agent(flags: &Flags, grpc: &str) -> anyhow::Result<tally_agent::settings::Settings> {
    let flags = tally_agent::settings::Flags::try_parse_from(flags.agent(grpc))?;
    tally_agent::settings::Settings::check(flags).map_err(|faults| anyhow!("{faults}"))
}

fn aggregator(flags: &Flags) -> anyhow::Result<tally_aggregator::settings::Settings> {
    let flags = tally_aggregator::settings::Flags::try_parse_from(flags.aggregator())?;
    tally_aggregator::settings::Settings::check(&flags).map_err(|faults| anyhow!("{faults}"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn every_flag_has_a_variable_and_help() {
        for argument in Flags::command().get_arguments() {
            let name = argument.get_id().as_str();
            let variable = format!("TALLY_{}", name.to_uppercase());
            assert_eq!(argument.get_env().and_then(|name| name.to_str()), Some(&*variable));
            assert!(argument.get_help().is_some(), "{name}");
        }
        Flags::command().debug_assert();
    }

    #[test]
    fn both_programs_understand_what_they_are_given() {
        let flags = ["tally", "--node", "here", "--resolution", "2s"];
        let flags = Flags::parse_from(flags);
        let aggregator = tally_aggregator::settings::Flags::parse_from(flags.aggregator());
        let aggregator = tally_aggregator::settings::Settings::check(&aggregator).unwrap();
        let agent = tally_agent::settings::Flags::parse_from(flags.agent("127.0.0.1:8083"));
        let agent = tally_agent::settings::Settings::check(agent).unwrap();
        assert_eq!(aggregator.resolution, agent.resolution);
        assert_eq!(agent.node.unwrap().as_str(), "here");
        let spool = flags.data_dir().join("spool");
        assert_eq!(agent.spool_dir, tally_agent::settings::SpoolDir::At(spool));
    }

    #[test]
    fn an_open_address_is_refused_until_it_is_asked_for_in_so_many_words() {
        let mut arguments = vec!["tally", "--rest-listen", "0.0.0.0:8082"];
        let advice = check(&Flags::parse_from(&arguments)).unwrap_err().to_string();
        let flag = advice.split_whitespace().find(|word| word.starts_with("--allow")).unwrap();
        arguments.push(flag);
        assert!(check(&Flags::parse_from(&arguments)).is_ok());
    }

    #[test]
    fn what_the_agent_alone_refuses_is_refused_before_anything_begins() {
        let flags = Flags::parse_from(["tally", "--node", "a\nb"]);
        assert!(check(&flags).unwrap_err().to_string().contains("--node"));
    }
}

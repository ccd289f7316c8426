//! What the command line says.

use std::{path::PathBuf, str::FromStr};

use clap::Parser;

/// Compares what the agent says of running loads with what the kernel's files say, before and after a
/// command that makes them work. Prints a line a check that begins with `ok` or `FAILED`.
#[derive(Clone, Debug, Parser)]
#[command(name = "known-loads", version)]
pub struct Arguments {
    /// What each line calls this machine.
    #[arg(long)]
    pub environment: String,
    /// A process that burns as much CPU as its limit of so many millicores allows.
    #[arg(long, value_name = "PID=MILLICORES")]
    pub burn: Vec<Process>,
    /// A process at rest that holds at least so many bytes of memory.
    #[arg(long, value_name = "PID=BYTES")]
    pub fill: Vec<Process>,
    /// A process in whose cgroup the command writes so many bytes to a disk.
    #[arg(long, value_name = "PID=BYTES")]
    pub write: Vec<Process>,
    /// A process in whose network namespace the command receives so many bytes.
    #[arg(long, value_name = "PID=BYTES")]
    pub receive: Vec<Process>,
    /// A process in whose cgroup the command has so many processes killed for lack of memory.
    #[arg(long, value_name = "PID=KILLS")]
    pub oom: Vec<Process>,
    /// An entity that `tally-agent --once` must show exactly once, such as
    /// `kind=pod_container,runtime=containerd,container_id=…`.
    #[arg(long, value_name = "FIELD=VALUE,…")]
    pub entity: Vec<String>,
    /// The agent.
    #[arg(long, default_value = "tally-agent")]
    pub agent: PathBuf,
    /// What is run between the two readings.
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// One process of a load, and how much it is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id on the host.
    pub pid: u32,
    /// In the unit of its load.
    pub amount: u32,
}

impl FromStr for Process {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pid, amount) = text.split_once('=').ok_or("it is no PID=AMOUNT")?;
        let number = |text: &str| text.parse().map_err(|error| format!("{text:?}: {error}"));
        Ok(Self { pid: number(pid)?, amount: number(amount)? })
    }
}

/// What a process is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It burns CPU.
    Burn,
    /// It holds memory.
    Fill,
    /// Bytes are written.
    Write,
    /// Bytes are received.
    Receive,
    /// Processes are killed.
    Oom,
}

/// A known load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Load {
    /// What it does.
    pub kind: Kind,
    /// Where, and how much.
    pub process: Process,
}

impl Arguments {
    /// All loads.
    pub fn loads(&self) -> Vec<Load> {
        let kinds = [
            (Kind::Burn, &self.burn),
            (Kind::Fill, &self.fill),
            (Kind::Write, &self.write),
            (Kind::Receive, &self.receive),
            (Kind::Oom, &self.oom),
        ];
        let loads = kinds.into_iter().flat_map(|(kind, processes)| {
            processes.iter().map(move |process| Load { kind, process: *process })
        });
        loads.collect()
    }
}

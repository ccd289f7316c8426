//! Two network namespaces and the pair of interfaces that joins them.
//!
//! The names have this process' number, so that several runs don't meet. Everything is gone when
//! the value is, and when the last process in a namespace is.

use std::{
    fs::File,
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    os::fd::AsFd,
    path::PathBuf,
    process::Command,
};

use anyhow::{Context as _, ensure};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A range for benchmarks of networks (RFC 2544): nothing else is there. The namespaces are alone
/// anyway.
const AGENT: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
const AGGREGATOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);

/// Where nobody is.
const NOBODY: &str = "02:00:00:00:00:99";

/// The interface of each side, in its own namespace.
const LINK: &str = "tally";

/// Which side of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The agent's.
    Agent,
    /// The aggregator's.
    Aggregator,
}

/// How the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// The agent's interface is down: no way out, and the kernel says so.
    Down,
    /// What the agent sends arrives, what it should hear is lost. Nobody is told.
    Silent,
}

/// Two namespaces.
#[derive(Debug)]
pub struct Network {
    agent: String,
    aggregator: String,
    agent_hardware: String,
}

impl Network {
    /// Makes them. `Err` says why there can be none here.
    pub fn make() -> Result<Self, String> {
        if !rustix::process::geteuid().is_root() {
            return Err("not root, which network namespaces need".to_owned());
        }
        let name = |side: &str| format!("tally-{side}-{}", std::process::id());
        let mut network = Self {
            agent: name("agent"),
            aggregator: name("aggregator"),
            agent_hardware: String::new(),
        };
        network.join().map_err(|error| format!("{error:#}"))?;
        Ok(network)
    }

    fn join(&mut self) -> anyhow::Result<()> {
        let (agent, aggregator) = (self.agent.as_str(), self.aggregator.as_str());
        for name in [agent, aggregator] {
            ip(&["netns", "add", name])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
        }
        let pair = ["link", "add", LINK, "netns", agent, "type", "veth", "peer", "name", LINK];
        ip(&[pair.as_slice(), &["netns", aggregator]].concat())?;
        for (name, address) in [(agent, AGENT), (aggregator, AGGREGATOR)] {
            ip(&["-n", name, "address", "add", &format!("{address}/30"), "dev", LINK])?;
            ip(&["-n", name, "link", "set", LINK, "up"])?;
        }
        let shown = ip(&["-n", agent, "-br", "link", "show", "dev", LINK])?;
        let hardware = shown.split_whitespace().nth(2).context("an interface has an address")?;
        self.agent_hardware = hardware.to_owned();
        Ok(())
    }

    /// An address on the aggregator's side.
    pub fn at(port: u16) -> SocketAddr {
        SocketAddr::new(IpAddr::V4(AGGREGATOR), port)
    }

    /// The file that stands for a side's namespace.
    pub fn file(&self, side: Side) -> PathBuf {
        let name = match side {
            Side::Agent => &self.agent,
            Side::Aggregator => &self.aggregator,
        };
        PathBuf::from("/run/netns").join(name)
    }

    /// Moves the thread that calls this to a side. What it opens and starts from here on is there.
    pub fn enter(&self, side: Side) -> io::Result<()> {
        let file = File::open(self.file(side))?;
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
        Ok(())
    }

    /// Breaks the network.
    pub fn cut(&self, cut: Cut) -> anyhow::Result<()> {
        match cut {
            Cut::Down => ip(&["-n", &self.agent, "link", "set", LINK, "down"])?,
            Cut::Silent => self.agent_is_at(NOBODY)?,
        };
        Ok(())
    }

    /// Makes it whole again.
    pub fn mend(&self) -> anyhow::Result<()> {
        ip(&["-n", &self.agent, "link", "set", LINK, "up"])?;
        self.agent_is_at(&self.agent_hardware)?;
        Ok(())
    }

    /// Where the aggregator's side sends what is for the agent.
    fn agent_is_at(&self, hardware: &str) -> anyhow::Result<String> {
        let (name, agent) = (self.aggregator.as_str(), AGENT.to_string());
        ip(&["-n", name, "neighbour", "replace", &agent, "lladdr", hardware, "dev", LINK])
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in [&self.agent, &self.aggregator] {
            // One that was never made is gone too.
            ip(&["netns", "delete", name]).ok();
        }
    }
}

fn ip(arguments: &[&str]) -> anyhow::Result<String> {
    let asked = || format!("ip {}", arguments.join(" "));
    let output = Command::new("ip").args(arguments).output();
    let output = output.with_context(|| format!("{} (Debian: iproute2)", asked()))?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{}: {}", asked(), errors.trim());
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

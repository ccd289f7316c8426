//! The interfaces of a network namespace, read through one of its processes.
//!
//! A held `/proc/PID/net/dev` goes on reading that namespace when the process is gone, and keeps it
//! alive as long, so it is closed when the cgroup goes. A pod's containers share one namespace, hence
//! the numbers are the pod's; whoever is in the host's namespace has none of its own.

mod namespace;

pub use namespace::HostNamespace;
use tally_proto::catalogue::{self as metric, MetricId};

use crate::{
    columns::{Columns, ResourceNumber},
    host::{
        descriptors::Pace,
        files::{Files, Gone, HeldFile, Location},
    },
    parse::{
        net_dev::{self, Traffic},
        net_route::{default_interface, default_interface_v6},
    },
};

/// What docker and most plug-ins call the interface, where no route tells.
const USUAL_DEFAULT: &str = "eth0";

/// The host's ends of containers' pairs: each container's traffic once more, under a name that is
/// new for every container. cAdvisor leaves them out too.
const PAIR_PREFIXES: [&str; 4] = ["veth", "cali", "lxc", "azv"];

/// Interfaces of one namespace that are kept.
const INTERFACES_MAX: usize = 256;

/// One namespace's interfaces.
#[derive(Debug)]
pub struct Network {
    /// `/PID`
    process: Box<str>,
    dev: HeldFile,
    interfaces: Vec<Interface>,
    /// Whose numbers stand under the plain names.
    default: Option<usize>,
    leaves_out_pairs: bool,
}

#[derive(Debug)]
struct Interface {
    name: Box<str>,
    /// Absent while there are too many resources.
    resource: Option<ResourceNumber>,
    traffic: Option<(Traffic, Traffic)>,
}

impl Network {
    /// The namespace of a process.
    pub fn of_process(process: u32) -> Self {
        Self {
            process: format!("/{process}").into(),
            dev: HeldFile::default(),
            interfaces: Vec::new(),
            default: None,
            leaves_out_pairs: false,
        }
    }

    /// The host's own, in which containers' pairs end.
    pub fn of_host() -> Self {
        Self { leaves_out_pairs: true, ..Self::of_process(1) }
    }

    /// Reads all interfaces. [`Gone`] when the process went before its file was held.
    pub fn read(
        &mut self,
        files: &mut Files,
        proc: &str,
        columns: &mut Columns,
    ) -> Result<(), Gone> {
        let at = Location { mount: proc, directory: &self.process, name: "net/dev" };
        let (interfaces, leaves_out_pairs) = (&mut self.interfaces, self.leaves_out_pairs);
        let before = interfaces.len();
        for interface in interfaces.iter_mut() {
            interface.traffic = None;
        }
        let mut place = 0;
        files.read(&mut self.dev, Pace::Hot, at, |text| {
            net_dev::each(text, |found| {
                let traffic = Some((found.received, found.sent));
                take(interfaces, &mut place, found.name, traffic, leaves_out_pairs);
            })
        })?;
        if before != self.interfaces.len() {
            for interface in self.interfaces.get_mut(before..).unwrap_or_default() {
                interface.resource = columns.resource(&interface.name);
            }
            self.find_default(files, proc);
        }
        Ok(())
    }

    fn find_default(&mut self, files: &mut Files, proc: &str) {
        let interfaces = &self.interfaces;
        let named = |name: &[u8]| interfaces.iter().position(|known| known.name.as_bytes() == name);
        let at = |name| Location { mount: proc, directory: &self.process, name };
        let v4 = files
            .read_once(at("net/route"), |text| Ok(default_interface(text).and_then(named)))
            .flatten();
        let v6 = || {
            files
                .read_once(at("net/ipv6_route"), |text| {
                    Ok(default_interface_v6(text).and_then(named))
                })
                .flatten()
        };
        self.default = v4.or_else(v6).or_else(|| named(USUAL_DEFAULT.as_bytes()));
    }

    /// Calls `put` with each metric of the default interface.
    pub fn each_plain(&self, mut put: impl FnMut(MetricId, u64)) {
        let default = self.default.and_then(|default| self.interfaces.get(default));
        if let Some((received, sent)) = default.and_then(|interface| interface.traffic) {
            each_of(PLAIN, &received, &sent, &mut put);
        }
    }

    /// Calls `put` with each metric of every interface.
    pub fn each_interface(&self, mut put: impl FnMut(MetricId, ResourceNumber, u64)) {
        for interface in &self.interfaces {
            let (Some(resource), Some((received, sent))) = (interface.resource, &interface.traffic)
            else {
                continue;
            };
            each_of(BY_INTERFACE, received, sent, &mut |metric, value| {
                put(metric, resource, value);
            });
        }
    }
}

/// Interfaces mostly stay in order, so the one at `place` is tried first.
fn take(
    interfaces: &mut Vec<Interface>,
    place: &mut usize,
    name: &[u8],
    traffic: Option<(Traffic, Traffic)>,
    leaves_out_pairs: bool,
) {
    let is_named = |interface: &Interface| interface.name.as_bytes() == name;
    if !interfaces.get(*place).is_some_and(is_named) {
        match interfaces.iter().position(is_named) {
            Some(found) => *place = found,
            None => {
                let Ok(name) = std::str::from_utf8(name) else { return };
                let is_pair = PAIR_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
                if leaves_out_pairs && is_pair || INTERFACES_MAX <= interfaces.len() {
                    return;
                }
                *place = interfaces.len();
                interfaces.push(Interface { name: name.into(), resource: None, traffic: None });
            }
        }
    }
    if let Some(interface) = interfaces.get_mut(*place) {
        interface.traffic = traffic;
        *place += 1;
    }
}

/// The metrics of one direction: bytes, packets, errors, drops.
type Direction = [MetricId; 4];

const PLAIN: [Direction; 2] = [
    [
        metric::NETWORK_RX,
        metric::NETWORK_RX_PACKETS,
        metric::NETWORK_RX_ERRORS,
        metric::NETWORK_RX_DROPPED,
    ],
    [
        metric::NETWORK_TX,
        metric::NETWORK_TX_PACKETS,
        metric::NETWORK_TX_ERRORS,
        metric::NETWORK_TX_DROPPED,
    ],
];

const BY_INTERFACE: [Direction; 2] = [
    [
        metric::INTERFACE_RX,
        metric::INTERFACE_RX_PACKETS,
        metric::INTERFACE_RX_ERRORS,
        metric::INTERFACE_RX_DROPPED,
    ],
    [
        metric::INTERFACE_TX,
        metric::INTERFACE_TX_PACKETS,
        metric::INTERFACE_TX_ERRORS,
        metric::INTERFACE_TX_DROPPED,
    ],
];

fn each_of(
    [receiving, sending]: [Direction; 2],
    received: &Traffic,
    sent: &Traffic,
    put: &mut impl FnMut(MetricId, u64),
) {
    for (metrics, traffic) in [(receiving, received), (sending, sent)] {
        let Traffic { bytes, packets, errors, dropped } = *traffic;
        for (metric, value) in metrics.into_iter().zip([bytes, packets, errors, dropped]) {
            put(metric, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::host::descriptors::Budget;

    const HEADING: &str = "Inter-|   Receive | Transmit\n face |bytes|bytes\n";

    struct Process {
        proc: tempfile::TempDir,
        files: Files,
        columns: Columns,
        network: Network,
    }

    impl Process {
        fn new(network: Network) -> Self {
            let proc = tempfile::tempdir().unwrap();
            fs::create_dir_all(proc.path().join("1/net")).unwrap();
            let files = Files::new(Budget::new(8));
            Self { proc, files, columns: Columns::default(), network }
        }

        fn has(&self, name: &str, text: &str) {
            fs::write(self.proc.path().join("1/net").join(name), text).unwrap();
        }

        /// Received bytes under the plain name, and number of interfaces.
        fn read(&mut self) -> (Option<u64>, usize) {
            let proc = self.proc.path().to_str().unwrap();
            self.network.read(&mut self.files, proc, &mut self.columns).unwrap();
            let (mut plain, mut interfaces) = (None, 0);
            self.network.each_plain(|id, value| {
                if id == metric::NETWORK_RX {
                    plain = Some(value);
                }
            });
            self.network.each_interface(|id, _, _| {
                interfaces += usize::from(id == metric::INTERFACE_RX);
            });
            (plain, interfaces)
        }
    }

    fn dev(interfaces: &[(&str, u64)]) -> String {
        let lines = interfaces
            .iter()
            .map(|(name, bytes)| format!("{name}: {bytes} 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n"));
        HEADING.to_owned() + &lines.collect::<String>()
    }

    fn route(interface: &str) -> String {
        format!(
            "Iface\tDestination\n{interface}\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n"
        )
    }

    #[test]
    fn the_default_route_names_the_plain_interface() {
        let mut process = Process::new(Network::of_process(1));
        process.has("dev", &dev(&[("lo", 1), ("eth0", 2), ("net1", 3)]));
        process.has("route", &route("net1"));
        assert_eq!(process.read(), (Some(3), 3));
    }

    #[test]
    fn without_a_route_it_is_eth0_and_else_none() {
        let mut process = Process::new(Network::of_process(1));
        process.has("dev", &dev(&[("lo", 1), ("eth0", 2)]));
        assert_eq!(process.read(), (Some(2), 2));
        let mut process = Process::new(Network::of_process(1));
        process.has("dev", &dev(&[("lo", 1)]));
        assert_eq!(process.read(), (None, 1));
    }

    #[test]
    fn an_interface_that_came_later_may_be_the_default() {
        let mut process = Process::new(Network::of_process(1));
        process.has("dev", &dev(&[("lo", 1)]));
        assert_eq!(process.read(), (None, 1));
        process.has("dev", &dev(&[("lo", 1), ("eth0", 2)]));
        assert_eq!(process.read(), (Some(2), 2));
    }

    #[test]
    fn one_that_went_has_no_numbers_any_more() {
        let mut process = Process::new(Network::of_process(1));
        process.has("dev", &dev(&[("a", 1), ("eth0", 2), ("b", 3)]));
        process.read();
        process.has("dev", &dev(&[("eth0", 5), ("b", 3)]));
        assert_eq!(process.read(), (Some(5), 2));
    }

    #[test]
    fn the_hosts_ends_of_pairs_are_left_out() {
        let mut process = Process::new(Network::of_host());
        process.has("dev", &dev(&[("veth1a2b", 1), ("eth0", 2), ("cali99", 3), ("docker0", 4)]));
        assert_eq!(process.read(), (Some(2), 2));
    }
}

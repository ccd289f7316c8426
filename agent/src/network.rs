//! The interfaces of a network namespace, read through one of its processes.
//!
//! A held `/proc/PID/net/dev` goes on reading that namespace when the process is gone, and keeps it
//! alive as long. So it is closed when the cgroup goes, and when the process went at the next slow turn:
//! a service that starts again in its old cgroup has a new namespace. A pod's containers share one
//! namespace, hence the numbers are the pod's; whoever is in the host's has none of its own.

mod namespace;

pub use namespace::HostNamespace;
use tally_proto::catalogue::{self as metric, MetricId};

use crate::{
    cgroup::Extent,
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
    /// That file's inode, which is another one in each namespace; absent before the first reading.
    inode: Option<u64>,
    route: HeldFile,
    route_v6: HeldFile,
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
        Self::of(format!("/{process}"))
    }

    fn of(process: String) -> Self {
        Self {
            process: process.into(),
            dev: HeldFile::default(),
            inode: None,
            route: HeldFile::default(),
            route_v6: HeldFile::default(),
            interfaces: Vec::new(),
            default: None,
            leaves_out_pairs: false,
        }
    }

    /// The host's own, in which containers' pairs end, seen by its process `/PID` or `/self`.
    pub fn of_host(process: &str) -> Self {
        Self { leaves_out_pairs: true, ..Self::of(process.to_owned()) }
    }

    /// Reads all interfaces, and with [`Extent::Everything`] also whether the process still is in that
    /// namespace and where the default route goes now. [`Gone`] when the process went.
    pub fn read(
        &mut self,
        files: &mut Files,
        proc: &str,
        columns: &mut Columns,
        extent: Extent,
    ) -> Result<(), Gone> {
        let at = Location { mount: proc, directory: &self.process, name: "net/dev" };
        if extent == Extent::Everything {
            let inode = files.inode(at);
            if self.inode.is_some() && self.inode != inode {
                return Err(Gone);
            }
            self.inode = inode;
        }
        let (interfaces, leaves_out_pairs) = (&mut self.interfaces, self.leaves_out_pairs);
        let before = interfaces.len();
        for interface in interfaces.iter_mut() {
            interface.traffic = None;
        }
        let mut place = 0;
        let found = files.read(&mut self.dev, Pace::Hot, at, |text| {
            net_dev::each(text, |found| {
                let traffic = Some((found.received, found.sent));
                take(interfaces, &mut place, found.name, traffic, leaves_out_pairs);
            })
        })?;
        if found.is_none() && before == 0 {
            // The process went before its file was held; another one may still tell.
            return Err(Gone);
        }
        for interface in self.interfaces.get_mut(before..).unwrap_or_default() {
            interface.resource = columns.resource(&interface.name);
        }
        if before != self.interfaces.len() || extent == Extent::Everything {
            self.find_default(files, proc);
        }
        Ok(())
    }

    /// Routes come after their interfaces and move from one to another: a host may be up before its
    /// address is. Hence they are looked at again at every slow turn.
    fn find_default(&mut self, files: &mut Files, proc: &str) {
        let interfaces = &self.interfaces;
        let named = |name: &[u8]| interfaces.iter().position(|known| known.name.as_bytes() == name);
        let at = |name| Location { mount: proc, directory: &self.process, name };
        let v4 = files.read(&mut self.route, Pace::Slow, at("net/route"), |text| {
            Ok(default_interface(text).and_then(named))
        });
        let v6 = || {
            let at = at("net/ipv6_route");
            let read = files.read(&mut self.route_v6, Pace::Slow, at, |text| {
                Ok(default_interface_v6(text).and_then(named))
            });
            read.ok().flatten().flatten()
        };
        let by_route = v4.ok().flatten().flatten().or_else(v6);
        self.default = by_route.or_else(|| named(USUAL_DEFAULT.as_bytes()));
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
        extent: Extent,
    }

    impl Process {
        fn new(network: Network) -> Self {
            let proc = tempfile::tempdir().unwrap();
            fs::create_dir_all(proc.path().join("1/net")).unwrap();
            let files = Files::new(Budget::new(8));
            Self { proc, files, columns: Columns::default(), network, extent: Extent::Hot }
        }

        fn has(&self, name: &str, text: &str) {
            fs::write(self.proc.path().join("1/net").join(name), text).unwrap();
        }

        /// Received bytes under the plain name, and number of interfaces.
        fn read(&mut self) -> (Option<u64>, usize) {
            let proc = self.proc.path().to_str().unwrap();
            self.network.read(&mut self.files, proc, &mut self.columns, self.extent).unwrap();
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
    fn a_route_that_comes_or_moves_is_seen_at_the_next_slow_turn() {
        let mut process = Process::new(Network::of_host("/1"));
        process.has("dev", &dev(&[("ens3", 1), ("wlan0", 2)]));
        process.has("route", "Iface\tDestination\n");
        assert_eq!(process.read(), (None, 2), "the host has no address yet");
        process.extent = Extent::Everything;
        for (interface, bytes) in [("ens3", 1), ("wlan0", 2)] {
            process.has("route", &route(interface));
            assert_eq!(process.read(), (Some(bytes), 2));
        }
    }

    #[test]
    fn a_process_that_went_or_is_another_now_tells_no_more() {
        let mut process = Process::new(Network::of_process(1));
        let proc = process.proc.path().to_str().unwrap().to_owned();
        let Process { files, columns, network, .. } = &mut process;
        let before = network.read(files, &proc, columns, Extent::Everything);
        assert_eq!(before, Err(Gone), "it went before it was held");
        *network = Network::of_process(1);
        let mut read = |extent| network.read(files, &proc, columns, extent);
        let file = format!("{proc}/1/net/dev");
        fs::write(&file, dev(&[("lo", 1)])).unwrap();
        for extent in [Extent::Everything, Extent::Hot, Extent::Everything] {
            assert_eq!(read(extent), Ok(()));
        }
        fs::write(format!("{file}2"), dev(&[("lo", 1)])).unwrap();
        fs::rename(format!("{file}2"), &file).unwrap();
        assert_eq!(read(Extent::Hot), Ok(()), "the held file still tells");
        assert_eq!(read(Extent::Everything), Err(Gone));
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
        let mut process = Process::new(Network::of_host("/1"));
        process.has("dev", &dev(&[("veth1a2b", 1), ("eth0", 2), ("cali99", 3), ("docker0", 4)]));
        assert_eq!(process.read(), (Some(2), 2));
    }
}

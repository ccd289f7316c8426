//! One entity of the host while it lives: its files, and what they said.

use tally_proto::{
    declaration::{Declared, EntityDeclaration, EntityNumber},
    name::{CgroupPath, ContainerId, PodUid},
    tick::{Tick, UnixMs},
};

use super::{
    Host,
    aliases::Alias,
    disk_usage::Gauge,
    load,
    processes::{Count, Processes},
};
use crate::{
    assemble::Sample,
    cgroup::{Cgroup, Disks, Extent},
    columns::{Columns, ResourceNumber},
    host::{files::Gone, mounts::Hierarchies},
    identity::Container,
    names::Called,
    network::Network,
    node::Node,
};

/// What an entity is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The node itself.
    Node,
    /// A pod.
    Pod(PodUid),
    /// A container of a pod.
    PodContainer {
        /// The pod's number.
        pod: EntityNumber,
        /// As the path names it.
        container: Container,
        /// Whether it only holds the pod's namespaces.
        sandbox: bool,
    },
    /// Anything that no pod owns; a runtime's container or a mere group.
    Free(Option<Container>),
}

/// Whether an entity has a network namespace of its own.
#[derive(Debug)]
pub(super) enum OwnNetwork {
    /// Not known yet: no process could be asked so far.
    Unknown,
    /// It is in the host's, or its pod's.
    None,
    /// It has.
    Own(Network),
}

/// One entity.
#[derive(Debug)]
pub(super) struct Member {
    /// Its number.
    pub number: EntityNumber,
    /// What it is.
    pub kind: Kind,
    /// What its runtime calls it; a pod is called as in one of its containers.
    pub called: Option<Called>,
    /// Its second name.
    pub alias: Option<Alias>,
    /// Its cgroup; absent for a pod whose containers are all there is.
    pub path: Option<CgroupPath>,
    /// The nearest entity above it.
    pub parent: Option<EntityNumber>,
    /// When this life began.
    pub start: Option<UnixMs>,
    /// Its interfaces.
    pub network: OwnNetwork,
    /// Processes of the group and its parts.
    pub own_processes: Option<Count>,
    /// Those and all in entities below.
    pub all_processes: u64,
    /// Microseconds from the tick to its last reading.
    pub read_offset_us: i64,
    /// What its last reading comes to.
    pub sample: Sample,
    /// When it was last read.
    pub read_at: Option<Tick>,
    /// How often it was read.
    pub turns: u32,
    /// What it has on disk, repeated at each tick.
    pub disk_usage: Vec<Gauge>,
    cgroup: Cgroup,
    processes: Processes,
    /// Resource numbers of the cgroup's disks, in their order.
    disk_resources: Vec<Option<ResourceNumber>>,
}

impl Member {
    /// An entity that was just found.
    pub(super) fn new(
        number: EntityNumber,
        kind: Kind,
        path: Option<CgroupPath>,
        hierarchies: &Hierarchies,
    ) -> Self {
        let network = match kind {
            Kind::Pod(_) | Kind::Free(_) => OwnNetwork::Unknown,
            Kind::Node | Kind::PodContainer { .. } => OwnNetwork::None,
        };
        Self {
            number,
            kind,
            called: None,
            alias: None,
            path,
            parent: None,
            start: None,
            network,
            own_processes: None,
            all_processes: 0,
            read_offset_us: 0,
            sample: Sample::default(),
            read_at: None,
            turns: 0,
            disk_usage: Vec::new(),
            cgroup: Cgroup::new(hierarchies),
            processes: Processes::default(),
            disk_resources: Vec::new(),
        }
    }

    /// What is said about it before its first frame.
    pub(super) fn declaration(&self) -> EntityDeclaration {
        let path = self.path.clone();
        let called = self.called.clone();
        let what = match &self.kind {
            Kind::Node => Declared::Node,
            Kind::Pod(uid) => {
                Declared::Pod { uid: uid.clone(), key: called.and_then(Called::into_pod), path }
            }
            Kind::PodContainer { pod, container, sandbox } => {
                let (name, image) = called.map_or((None, None), Called::into_container);
                let id = Some(container.id.clone());
                Declared::PodContainer { pod: *pod, name, id, path, sandbox: *sandbox, image }
            }
            Kind::Free(container) => {
                let (name, image) = called.map_or((None, None), Called::into_container);
                let id = container.as_ref().map(|container| container.id.clone());
                Declared::FreeContainer { name, id, path, image }
            }
        };
        EntityDeclaration { number: self.number, start: self.start, what }
    }

    /// Every number it has values under.
    pub(super) fn numbers(&self) -> impl Iterator<Item = EntityNumber> + use<> {
        [Some(self.number), self.alias.as_ref().map(|alias| alias.number)].into_iter().flatten()
    }

    /// The runtime's id, of a container.
    pub(super) fn container_id(&self) -> Option<&ContainerId> {
        match &self.kind {
            Kind::PodContainer { container, .. } | Kind::Free(Some(container)) => {
                Some(&container.id)
            }
            Kind::Node | Kind::Pod(_) | Kind::Free(None) => None,
        }
    }

    /// Reads the cgroup's files and the interfaces.
    pub(super) fn read(&mut self, host: &mut Host, extent: Extent) -> Result<(), Gone> {
        self.turns = self.turns.saturating_add(1);
        if let Some(path) = &self.path {
            self.cgroup.read(&mut host.files, &host.hierarchies, path, extent)?;
            self.sample = self.cgroup.sample();
            if extent == Extent::Everything {
                let counted = self.processes.count(&mut host.files, &host.process_trees, path);
                // v1 leaves foreign processes out of its lists, so that these say nothing.
                let is_told =
                    !(host.foreign.are_foreign() && matches!(host.hierarchies, Hierarchies::V1(_)));
                self.own_processes = counted.filter(|_| is_told);
            }
        }
        if self.kind == Kind::Node {
            let Host { node, files, columns, .. } = host;
            self.sample = node.read(files, columns, self.sample, extent == Extent::Everything);
        }
        self.read_network(host, extent);
        Ok(())
    }

    /// Reads the interfaces, if it has its own.
    pub(super) fn read_network(&mut self, host: &mut Host, extent: Extent) {
        let OwnNetwork::Own(network) = &mut self.network else { return };
        let read = network.read(&mut host.files, host.node.proc(), &mut host.columns, extent);
        if read == Err(Gone) {
            self.network = OwnNetwork::Unknown;
        }
    }

    /// Counts the runnable tasks.
    pub(super) fn read_load(&mut self, host: &mut Host) {
        if let (Some(path), false) = (&self.path, self.kind == Kind::Node) {
            self.sample.cpu_load = load::runnable(host, path);
        }
    }

    /// Some of its own processes.
    pub(super) fn first_processes(&self, host: &mut Host) -> Vec<u32> {
        let Some(path) = &self.path else { return Vec::new() };
        self.processes.first(host, path)
    }

    /// Looks again for files that were not there.
    pub(super) fn try_again(&mut self) {
        self.cgroup.try_again();
    }

    /// What went over each device, with the device's name as a resource.
    pub(super) fn disks<'a>(
        &'a mut self,
        node: &'a Node,
        columns: &mut Columns,
    ) -> (&'a Disks, &'a [Option<ResourceNumber>]) {
        let disks = match self.kind {
            Kind::Node => node.disks(),
            _ => self.cgroup.disks(),
        };
        for disk in disks.iter().skip(self.disk_resources.len()) {
            let resource = match node.device_name(disk.device) {
                Some(name) => columns.resource(name),
                None => columns.resource(&disk.device.to_string()),
            };
            self.disk_resources.push(resource);
        }
        (disks, &self.disk_resources)
    }
}

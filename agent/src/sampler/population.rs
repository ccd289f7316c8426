//! Who is there: every entity of the host by number and by path.

use std::collections::HashMap;

use tally_proto::{
    declaration::EntityNumber,
    message::Declarations,
    name::{CgroupPath, ContainerId, ContainerName, PodUid},
};

use super::{
    Host,
    member::{Kind, Member, OwnNetwork},
    numbers::Numbers,
    processes::is_at_or_below,
};
use crate::{cgroup::Extent, names::Called, network::Network};

/// Turns in which a new entity's network is looked for at once; later it is only its slow turn.
const EAGER_TURNS: u32 = 4;

/// The entities of a host.
#[derive(Debug, Default)]
pub(super) struct Population {
    /// By number.
    slots: Vec<Option<Member>>,
    by_path: HashMap<CgroupPath, EntityNumber>,
    numbers: Numbers,
    /// Who was said to be there before, and was named in this frame.
    named: Vec<EntityNumber>,
    /// Containers that went and had no name.
    gone_nameless: Vec<ContainerId>,
}

impl Population {
    /// Begins the next frame: numbers that retired with the last one are free again.
    pub(super) fn begin_frame(&mut self) {
        self.numbers.begin_frame();
        self.named.clear();
    }

    /// Everybody, by number.
    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.slots.iter().flatten()
    }

    /// Everybody, by number.
    pub(super) fn members_mut(&mut self) -> impl Iterator<Item = &mut Member> {
        self.slots.iter_mut().flatten()
    }

    /// One of them.
    pub(super) fn get_mut(&mut self, number: EntityNumber) -> Option<&mut Member> {
        self.slots.get_mut(slot(number))?.as_mut()
    }

    /// Who is at a path.
    pub(super) fn at(&self, path: &str) -> Option<EntityNumber> {
        self.by_path.get(path).copied()
    }

    /// The pod of that uid. A scan: asked once for each new container.
    pub(super) fn pod(&self, uid: &PodUid) -> Option<EntityNumber> {
        let is_it = |member: &&Member| matches!(&member.kind, Kind::Pod(known) if known == uid);
        self.members().find(is_it).map(|member| member.number)
    }

    /// The container of that id. A scan: asked for each that is named late.
    pub(super) fn container(&self, id: &ContainerId) -> Option<EntityNumber> {
        let is_it = |member: &&Member| member.container_id() == Some(id);
        self.members().find(is_it).map(|member| member.number)
    }

    /// Whether a container that no pod owns has that name. Two runtimes may give the
    /// same.
    pub(super) fn is_free_name_taken(&self, name: &ContainerName) -> bool {
        self.members().any(|member| {
            let alias = member.alias.as_ref().map(|alias| &alias.name);
            let own = match &member.called {
                Some(Called::Free { name, .. }) => Some(name),
                _ => None,
            };
            own == Some(name) || alias == Some(name)
        })
    }

    /// A number for a second name; `None` when a node may have no more.
    pub(super) fn take_number(&mut self) -> Option<EntityNumber> {
        self.numbers.take()
    }

    /// Gives a name to somebody who has none, and says so.
    pub(super) fn name(&mut self, number: EntityNumber, called: &Called, said: &mut Declarations) {
        let Some(member) = self.get_mut(number).filter(|member| member.called.is_none()) else {
            return;
        };
        member.called = Some(called.clone());
        if let (Kind::PodContainer { sandbox, .. }, Called::Sandbox(_)) = (&mut member.kind, called)
        {
            *sandbox = true;
        }
        let declaration = member.declaration();
        match said.entities.iter_mut().find(|declared| declared.number == number) {
            Some(declared) => *declared = declaration,
            None => {
                said.entities.push(declaration);
                self.named.push(number);
            }
        }
    }

    /// Containers that went and had no name.
    pub(super) fn take_gone_nameless(&mut self) -> Vec<ContainerId> {
        std::mem::take(&mut self.gone_nameless)
    }

    /// The nearest entity above a path.
    pub(super) fn above(&self, path: &str) -> Option<EntityNumber> {
        let mut path = path;
        loop {
            path = path.rsplit_once('/')?.0;
            let above = if path.is_empty() { "/" } else { path };
            if let Some(number) = self.at(above) {
                return Some(number);
            }
        }
    }

    /// Adds an entity. `None` when a node may have no more.
    pub(super) fn admit(
        &mut self,
        host: &Host,
        kind: Kind,
        path: Option<CgroupPath>,
        said: &mut Declarations,
        complete: impl FnOnce(&mut Member),
    ) -> Option<EntityNumber> {
        let number = self.numbers.take()?;
        let mut member = Member::new(number, kind, path.clone(), &host.hierarchies);
        complete(&mut member);
        said.entities.push(member.declaration());
        if let Some(path) = path {
            self.by_path.insert(path, number);
        }
        if self.slots.len() <= slot(number) {
            self.slots.resize_with(slot(number) + 1, || None);
        }
        *self.slots.get_mut(slot(number))? = Some(member);
        Some(number)
    }

    /// Removes who is at a path, and everybody below. Containers of a removed pod stand below it.
    pub(super) fn retire(&mut self, path: &str, said: &mut Declarations) {
        let is_leaving =
            |member: &Member| member.path.as_ref().is_some_and(|its| is_at_or_below(its, path));
        let leaving: Vec<EntityNumber> = self
            .members()
            .filter(|member| is_leaving(member))
            .map(|member| member.number)
            .collect();
        for number in leaving {
            self.remove(number, said);
        }
        self.remove_empty_pods(said);
    }

    fn remove(&mut self, number: EntityNumber, said: &mut Declarations) {
        let Some(member) = self.slots.get_mut(slot(number)).and_then(Option::take) else { return };
        if let Some(path) = &member.path {
            self.by_path.remove(path);
        }
        if let Kind::PodContainer { pod, sandbox: true, .. } = member.kind
            && let Some(pod) = self.get_mut(pod)
        {
            // The next sandbox has another network.
            pod.network = OwnNetwork::Unknown;
        }
        if let (None, Some(id)) = (&member.called, member.container_id()) {
            self.gone_nameless.push(id.clone());
        }
        for number in member.numbers() {
            // An entity that comes and goes within one frame was never said to be there.
            let before = said.entities.len();
            said.entities.retain(|declared| declared.number != number);
            if before == said.entities.len() || self.named.contains(&number) {
                said.retired.push(number);
            }
            self.numbers.retire(number);
        }
    }

    /// A pod without a cgroup of its own goes with its last container.
    fn remove_empty_pods(&mut self, said: &mut Declarations) {
        let has_container = |pod: EntityNumber| {
            self.members().any(
                |member| matches!(member.kind, Kind::PodContainer { pod: its, .. } if its == pod),
            )
        };
        let is_empty = |member: &&Member| {
            matches!(member.kind, Kind::Pod(_))
                && member.path.is_none()
                && !has_container(member.number)
        };
        let empty: Vec<EntityNumber> =
            self.members().filter(is_empty).map(|member| member.number).collect();
        for pod in empty {
            self.remove(pod, said);
        }
    }

    /// Adds the processes of each entity to all entities above it.
    pub(super) fn add_up_processes(&mut self) {
        for member in self.members_mut() {
            member.all_processes = member.own_processes.map_or(0, |count| count.processes);
        }
        for index in 0..self.slots.len() {
            let Some(member) = self.slots.get(index).and_then(Option::as_ref) else { continue };
            let Some(count) = member.own_processes else { continue };
            let mut above = member.parent.filter(|_| count.is_in_first_tree);
            while let Some(member) = above.and_then(|number| self.get_mut(number)) {
                member.all_processes += count.processes;
                above = member.parent;
            }
        }
    }

    /// Looks for the network namespaces of entities whose is not known, and reads those found.
    pub(super) fn find_networks(&mut self, host: &mut Host, turn: u32, slow_every: u32) {
        for index in 0..self.slots.len() {
            let Some(member) = self.slots.get(index).and_then(Option::as_ref) else { continue };
            let is_turn = turn.wrapping_add(member.number.0).is_multiple_of(slow_every);
            let is_new = member.turns < EAGER_TURNS;
            if !matches!(member.network, OwnNetwork::Unknown) || !(is_new || is_turn) {
                continue;
            }
            let found = self.network_of(host, index);
            if let (Some(network), Some(Some(member))) = (found, self.slots.get_mut(index)) {
                member.network = network;
                member.read_network(host, Extent::Everything);
            }
        }
    }

    /// `None` when there is no process to ask.
    fn network_of(&self, host: &mut Host, index: usize) -> Option<OwnNetwork> {
        let member = self.slots.get(index)?.as_ref()?;
        let are_counted = !host.foreign.are_foreign();
        let mut processes = match member.kind {
            _ if are_counted && member.all_processes == 0 => Vec::new(),
            Kind::Pod(_) => self.processes_of_pod(host, member.number),
            _ if are_counted && member.own_processes.is_none_or(|count| count.processes == 0) => {
                Vec::new()
            }
            _ => member.first_processes(host),
        };
        processes.sort_unstable();
        processes.into_iter().find_map(|process| {
            match host.namespace.has(host.node.proc(), process)? {
                true => Some(OwnNetwork::None),
                false => Some(OwnNetwork::Own(Network::of_process(process))),
            }
        })
    }

    fn processes_of_pod(&self, host: &mut Host, pod: EntityNumber) -> Vec<u32> {
        let is_its = |member: &&Member| matches!(member.kind, Kind::PodContainer { pod: its, .. } if its == pod);
        self.members().filter(is_its).flat_map(|member| member.first_processes(host)).collect()
    }
}

fn slot(number: EntityNumber) -> usize {
    usize::try_from(number.0).unwrap_or(usize::MAX)
}

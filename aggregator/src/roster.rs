//! The entities of a node by name: what its stream declares, and what the inventory knows of it.
//!
//! A pod that neither the agent nor the inventory can name is still measured: it and its
//! containers stand here as free containers under their cgroup paths.

use std::{collections::BTreeMap, sync::Arc};

use tally_proto::{
    declaration::{Declared, EntityNumber, PodKey},
    name::{CgroupPath, ContainerName, NodeName, PodUid},
    tick::UnixMs,
};

use crate::{
    declared::{Declarations, Life},
    inventory::{ContainerRecord, Inventory, NodeRecord, PodRecord},
};

/// All entities that a node's frames hold, by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Roster {
    /// The node itself.
    pub node: Option<EntityNumber>,
    /// What the inventory knows of it.
    pub node_record: Option<Arc<NodeRecord>>,
    /// Its pods, sorted by namespace and name.
    pub pods: Vec<Pod>,
    /// Its free containers, sorted by name.
    pub free_containers: Vec<FreeContainer>,
    /// Frames of which time it is of, as far as pods that are gone are concerned.
    pub valid: Validity,
}

/// From when to when a roster is of a node's frames.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Validity {
    /// The last of its pods that is gone was gone since then.
    pub from: Option<UnixMs>,
    /// The first of its pods that will be gone is gone from then on.
    pub until: Option<UnixMs>,
}

impl Validity {
    /// Whether frames of that time have this roster.
    pub fn contains(&self, at: UnixMs) -> bool {
        self.from.is_none_or(|from| from <= at) && self.until.is_none_or(|until| at < until)
    }
}

/// A pod with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Pod {
    /// Namespace and name.
    pub key: PodKey,
    /// Its uid; the inventory's where it knows one.
    pub uid: PodUid,
    /// Its namespace's uid.
    pub namespace_uid: Option<Arc<str>>,
    /// What the inventory knows of it.
    pub record: Option<Arc<PodRecord>>,
    /// Its own row.
    pub row: EntityNumber,
    /// Its containers, sorted by name.
    pub containers: Vec<PodContainer>,
}

/// A container of a pod.
#[derive(Clone, Debug, PartialEq)]
pub struct PodContainer {
    /// Its name.
    pub name: ContainerName,
    /// Its row; `None` for one that only the specification names.
    pub row: Option<EntityNumber>,
    /// Its place in the record's containers.
    pub record: Option<u32>,
}

/// A container, service or slice that no pod owns.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeContainer {
    /// The runtime's name, or its cgroup path.
    pub name: ContainerName,
    /// Its row.
    pub row: EntityNumber,
}

impl Pod {
    /// What the specification says of a container.
    pub fn container_record(&self, container: &PodContainer) -> Option<&ContainerRecord> {
        self.record.as_ref()?.containers.get(usize::try_from(container.record?).ok()?)
    }

    /// The container of that name.
    pub fn container(&self, name: &str) -> Option<&PodContainer> {
        let place = self.containers.binary_search_by(|one| one.name.as_str().cmp(name)).ok()?;
        self.containers.get(place)
    }
}

impl Roster {
    /// Brings together what rows a frame has, what they are, and what the inventory knows of the
    /// frame's time.
    pub fn new(
        node: &NodeName,
        rows: &[EntityNumber],
        declarations: &Declarations,
        (inventory, at): (&Inventory, UnixMs),
    ) -> Self {
        let (pods, free, valid) = (BTreeMap::new(), BTreeMap::new(), Validity::default());
        let mut building = Building { inventory, at, declarations, pods, free, valid };
        let mut own = None;
        let declared =
            || rows.iter().filter_map(|number| Some((*number, declarations.entity(*number)?)));
        for entity in declared() {
            match &entity.1.what {
                Declared::Node => own = Some(entity.0),
                Declared::Pod { uid, key, path } => {
                    building.add_pod(entity, uid, key.as_ref(), path.as_ref());
                }
                Declared::FreeContainer { name, path, .. } => {
                    building.add_free(entity, name.as_ref(), path.as_ref());
                }
                Declared::PodContainer { .. } | Declared::Unknown => (),
            }
        }
        for entity in declared() {
            building.add_pod_container(entity);
        }
        Self {
            node: own,
            node_record: inventory.node(node).cloned(),
            pods: building
                .pods
                .into_values()
                .map(|pod| with_specified_containers(pod, declarations))
                .collect(),
            free_containers: building.free.into_values().collect(),
            valid: building.valid,
        }
    }

    /// The pod of that namespace and name.
    pub fn pod(&self, namespace: &str, name: &str) -> Option<&Pod> {
        let sought = (namespace, name);
        let place = self
            .pods
            .binary_search_by(|pod| {
                (pod.key.namespace.as_str(), pod.key.name.as_str()).cmp(&sought)
            })
            .ok()?;
        self.pods.get(place)
    }

    /// The pods of a namespace: all are sorted by their namespaces first.
    pub fn pods_of(&self, namespace: &str) -> &[Pod] {
        let first = self.pods.partition_point(|pod| pod.key.namespace.as_str() < namespace);
        let rest = self.pods.get(first..).unwrap_or_default();
        let end = rest.partition_point(|pod| pod.key.namespace.as_str() == namespace);
        rest.get(..end).unwrap_or_default()
    }

    /// The free container of that name.
    pub fn free_container(&self, name: &str) -> Option<&FreeContainer> {
        let place =
            self.free_containers.binary_search_by(|one| one.name.as_str().cmp(name)).ok()?;
        self.free_containers.get(place)
    }
}

struct Building<'a> {
    inventory: &'a Inventory,
    at: UnixMs,
    valid: Validity,
    declarations: &'a Declarations,
    pods: BTreeMap<PodKey, Pod>,
    free: BTreeMap<ContainerName, FreeContainer>,
}

impl<'a> Building<'a> {
    fn start(&self, row: EntityNumber) -> Option<UnixMs> {
        self.declarations.start(row)
    }

    /// The pod of that uid that was there then, and is gone by now.
    fn gone_pod(&mut self, uid: &PodUid) -> Option<&'a Arc<PodRecord>> {
        let (pod, gone) = self.inventory.gone_pod(uid)?;
        if self.at < gone {
            self.valid.until = Some(self.valid.until.map_or(gone, |until| until.min(gone)));
            Some(pod)
        } else {
            self.valid.from = self.valid.from.max(Some(gone));
            None
        }
    }

    fn add_pod(
        &mut self,
        (row, life): (EntityNumber, &Life),
        uid: &PodUid,
        key: Option<&PodKey>,
        path: Option<&CgroupPath>,
    ) {
        let by_uid = self.inventory.pod_of_uid(uid).or_else(|| self.gone_pod(uid));
        let Some(key) = key.or(by_uid.map(|record| &record.key)) else {
            return self.add_free((row, life), None, path);
        };
        // The node's uid of a static pod is not the API's, so the name decides.
        let record = by_uid.or_else(|| self.inventory.pod(key)).cloned();
        let pod = Pod {
            key: key.clone(),
            uid: record.as_ref().map_or(uid, |record| &record.uid).clone(),
            namespace_uid: self.inventory.namespace_uid(&key.namespace).cloned(),
            record,
            row,
            containers: Vec::new(),
        };
        // Two pods of one name: the later start is the one that runs.
        let later = |known: &Pod| life.start() < self.start(known.row);
        if !self.pods.get(key).is_some_and(later) {
            self.pods.insert(key.clone(), pod);
        }
    }

    fn add_pod_container(&mut self, (row, life): (EntityNumber, &Life)) {
        let Declared::PodContainer { pod, name, id, path, sandbox: false, image: _ } = &life.what
        else {
            return;
        };
        let owner = self.pods.values_mut().find(|candidate| candidate.row == *pod);
        let named = owner.and_then(|owner| {
            let records = owner.record.as_ref().map_or(&[][..], |record| &record.containers);
            let record = records.iter().position(|record| match (name, id) {
                (Some(name), _) => record.name == *name,
                (None, Some(id)) => record.id.as_ref() == Some(id),
                (None, None) => false,
            });
            let known = record.and_then(|place| records.get(place));
            let known = known.map(|record| &record.name);
            // Init and debug containers are not among those that the specification counts.
            let helper = || owner.record.as_ref()?.container_name(id.as_ref()?);
            let name = name.as_ref().or(known).or_else(helper)?.clone();
            let record = record.and_then(|place| u32::try_from(place).ok());
            Some((owner, PodContainer { name, row: Some(row), record }))
        });
        match named {
            Some((owner, container)) => {
                insert_container(&mut owner.containers, container, self.declarations);
            }
            None => self.add_free((row, life), None, path.as_ref()),
        }
    }

    fn add_free(
        &mut self,
        (row, life): (EntityNumber, &Life),
        name: Option<&ContainerName>,
        path: Option<&CgroupPath>,
    ) {
        let by_path = || path.and_then(|path| ContainerName::parse(path.as_str()).ok());
        let Some(name) = name.cloned().or_else(by_path) else { return };
        let container = FreeContainer { name, row };
        let later = |known: &FreeContainer| life.start() < self.start(known.row);
        if !self.free.get(&container.name).is_some_and(later) {
            self.free.insert(container.name.clone(), container);
        }
    }
}

/// Of two containers with one name the one that started later is the one that runs.
fn insert_container(
    containers: &mut Vec<PodContainer>,
    container: PodContainer,
    declarations: &Declarations,
) {
    match containers.binary_search_by(|known| known.name.cmp(&container.name)) {
        Err(place) => containers.insert(place, container),
        Ok(place) => {
            let start = |container: &PodContainer| declarations.start(container.row?);
            if let Some(known) = containers.get_mut(place)
                && start(known) <= start(&container)
            {
                *known = container;
            }
        }
    }
}

/// Containers that the specification names and the node does not report have requests and limits.
fn with_specified_containers(mut pod: Pod, declarations: &Declarations) -> Pod {
    let Some(record) = pod.record.clone() else {
        pod.containers.shrink_to_fit();
        return pod;
    };
    for (place, specified) in record.containers.iter().enumerate() {
        if pod.container(&specified.name).is_none() {
            let stub = PodContainer {
                name: specified.name.clone(),
                row: None,
                record: u32::try_from(place).ok(),
            };
            insert_container(&mut pod.containers, stub, declarations);
        }
    }
    pod.containers.shrink_to_fit();
    pod
}

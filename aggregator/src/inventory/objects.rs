//! Kubernetes LIST answers to records. Only the fields that Tally uses are read; anything else
//! in the objects is skipped.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{
    ContainerRecord, Inventory, NodeRecord, PodRecord, Resources,
    quantity::{BadQuantity, thousandths, units},
};
use tally_proto::{
    declaration::PodKey,
    metric::MetricName,
    name::{
        BadName, ContainerId, ContainerName, ImageName, NamespaceName, NodeName, PodName, PodUid,
    },
};

/// A LIST answer that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum BadObjects {
    /// Not JSON, or not of the shape of a list.
    #[error("not a Kubernetes list in JSON")]
    Json(#[from] serde_json::Error),
    /// A list of something else.
    #[error("a list of kind {0:?}; NodeList, PodList and NamespaceList are known")]
    Kind(String),
    /// A field that has no valid name in it.
    #[error("{field} of {object:?} is no valid name")]
    Name {
        /// The field.
        field: &'static str,
        /// The object's name.
        object: String,
        /// What is wrong.
        source: BadName,
    },
    /// A quantity that is none.
    #[error("a quantity of {object:?} is not valid")]
    Quantity {
        /// The object's name.
        object: String,
        /// What is wrong.
        source: BadQuantity,
    },
}

#[derive(Deserialize)]
struct List {
    kind: String,
    #[serde(default)]
    items: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    containers: Vec<Container>,
    #[serde(rename = "externalID")]
    external_id: String,
}

#[derive(Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    resources: Requirements,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Requirements {
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<ContainerStatus>,
    capacity: BTreeMap<String, String>,
    allocatable: BTreeMap<String, String>,
    addresses: Vec<Address>,
}

#[derive(Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    restart_count: i64,
    #[serde(rename = "containerID", default)]
    container_id: String,
}

/// Reads one LIST answer (`NodeList`, `PodList` or `NamespaceList`) into `inventory`.
pub fn add_list(inventory: &mut Inventory, json: &str) -> Result<(), BadObjects> {
    let list: List = serde_json::from_str(json)?;
    for item in list.items {
        let object: Object = serde_json::from_value(item)?;
        match list.kind.as_str() {
            "NodeList" => inventory.add_node(node(&object)?),
            "PodList" => inventory.add_pod(pod(&object)?),
            "NamespaceList" => inventory.add_namespace(
                named("metadata.name", &object, NamespaceName::parse(&object.metadata.name))?,
                object.metadata.uid.as_str().into(),
            ),
            kind => return Err(BadObjects::Kind(kind.to_owned())),
        }
    }
    Ok(())
}

fn node(object: &Object) -> Result<NodeRecord, BadObjects> {
    let hostname = object.status.addresses.iter().rfind(|address| address.kind == "Hostname");
    Ok(NodeRecord {
        name: named("metadata.name", object, NodeName::parse(&object.metadata.name))?,
        hostname: hostname.map_or(&object.metadata.name, |found| &found.address).clone(),
        host_id: object.spec.external_id.clone(),
        labels: labels(&object.metadata.labels),
        capacity: resources(object, &object.status.capacity)?,
        allocatable: resources(object, &object.status.allocatable)?,
    })
}

fn pod(object: &Object) -> Result<PodRecord, BadObjects> {
    let metadata = &object.metadata;
    Ok(PodRecord {
        key: PodKey {
            namespace: named(
                "metadata.namespace",
                object,
                NamespaceName::parse(&metadata.namespace),
            )?,
            name: named("metadata.name", object, PodName::parse(&metadata.name))?,
        },
        uid: named("metadata.uid", object, PodUid::parse(&metadata.uid))?,
        labels: labels(&metadata.labels),
        containers: object
            .spec
            .containers
            .iter()
            .map(|spec| container(object, spec))
            .collect::<Result<_, _>>()?,
    })
}

fn container(object: &Object, spec: &Container) -> Result<ContainerRecord, BadObjects> {
    let status = object.status.container_statuses.iter().find(|status| status.name == spec.name);
    // "containerd://0123…": the runtime's name stands before the id.
    let id = status
        .and_then(|status| status.container_id.split_once("://"))
        .and_then(|(_, id)| ContainerId::parse(id).ok());
    let known = ["cpu", "memory", "ephemeral-storage"];
    let mut extended = Vec::new();
    for (resource, quantity) in &spec.resources.requests {
        if !known.contains(&resource.as_str()) {
            let name = MetricName::parse(&format!("{resource}/request"));
            let amount = units(quantity).map_err(|source| bad_quantity(object, source))?;
            extended.push((named("spec.containers.resources", object, name)?, amount));
        }
    }
    Ok(ContainerRecord {
        name: named("spec.containers.name", object, ContainerName::parse(&spec.name))?,
        image: named("spec.containers.image", object, ImageName::parse_optional(&spec.image))?,
        id,
        requests: resources(object, &spec.resources.requests)?,
        limits: resources(object, &spec.resources.limits)?,
        extended,
        restart_count: status.map(|status| status.restart_count),
    })
}

fn resources(object: &Object, named: &BTreeMap<String, String>) -> Result<Resources, BadObjects> {
    let get = |resource: &str, parse: fn(&str) -> Result<i64, BadQuantity>| {
        let parsed = named.get(resource).map(|quantity| parse(quantity)).transpose();
        parsed.map_err(|source| bad_quantity(object, source))
    };
    Ok(Resources {
        cpu_millicores: get("cpu", thousandths)?,
        memory_bytes: get("memory", units)?,
        ephemeral_storage_bytes: get("ephemeral-storage", units)?,
    })
}

/// Heapster's form: sorted `key:value`, joined by commas.
fn labels(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<_> = labels.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    pairs.join(",")
}

fn named<T>(
    field: &'static str,
    object: &Object,
    name: Result<T, BadName>,
) -> Result<T, BadObjects> {
    name.map_err(|source| BadObjects::Name { field, object: object.metadata.name.clone(), source })
}

fn bad_quantity(object: &Object, source: BadQuantity) -> BadObjects {
    BadObjects::Quantity { object: object.metadata.name.clone(), source }
}

//! Kubernetes objects and LIST answers to records. Only the fields that Tally uses are read;
//! anything else in the objects is skipped.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::Deserialize;

use super::{
    ContainerRecord, HelperRecord, Inventory, NodeRecord, PodRecord, Resources,
    owner::{self, OwnerReference},
    quantity::{BadQuantity, thousandths, units},
};
use tally_proto::{
    declaration::PodKey,
    limits::LABEL_VALUE_BYTES,
    metric::{Labels, MetricName},
    name::{
        BadName, ContainerId, ContainerName, ImageName, NamespaceName, NodeName, PodName, PodUid,
    },
    tick::UnixMs,
};

/// What a static pod's mirror says of the uid that the node calls the pod by.
const STATIC_UID: &str = "kubernetes.io/config.mirror";

/// How labels are joined to one text, and which are labels of their own beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelForm {
    /// What stands between two labels.
    pub separator: String,
    /// Labels that are left out.
    pub ignored: BTreeSet<String>,
    /// Labels that history stores as labels of their own, left out of the text or not; each with
    /// the name that it has there.
    pub stored: BTreeMap<String, String>,
}

impl Default for LabelForm {
    fn default() -> Self {
        Self { separator: ",".to_owned(), ignored: BTreeSet::new(), stored: BTreeMap::new() }
    }
}

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

/// A node, a pod or a namespace, as far as it is used.
#[derive(Clone, Debug, Deserialize)]
pub struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: String,
    #[serde(default)]
    namespace: String,
    #[serde(default)]
    uid: String,
    #[serde(default)]
    resource_version: String,
    #[serde(default)]
    creation_timestamp: Option<jiff::Timestamp>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    annotations: Annotations,
    #[serde(default)]
    owner_references: Vec<OwnerReference>,
}

/// Annotations may be hundreds of kilobytes, so only what is used is kept of them.
#[derive(Clone, Debug, Default, Deserialize)]
struct Annotations {
    #[serde(rename = "kubernetes.io/config.mirror")]
    static_uid: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    node_name: String,
    containers: Vec<Container>,
    #[serde(rename = "externalID")]
    external_id: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Container {
    name: String,
    #[serde(default)]
    image: String,
    #[serde(default)]
    resources: Requirements,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Requirements {
    requests: BTreeMap<String, String>,
    limits: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    container_statuses: Vec<ContainerStatus>,
    init_container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
    capacity: BTreeMap<String, String>,
    allocatable: BTreeMap<String, String>,
    addresses: Vec<Address>,
}

#[derive(Clone, Debug, Deserialize)]
struct Address {
    #[serde(rename = "type")]
    kind: String,
    address: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerStatus {
    name: String,
    #[serde(default)]
    restart_count: i64,
    #[serde(rename = "containerID", default)]
    container_id: String,
}

/// Reads one LIST answer (`NodeList`, `PodList` or `NamespaceList`) into `inventory`.
pub fn add_list(inventory: &mut Inventory, json: &str, form: &LabelForm) -> Result<(), BadObjects> {
    let list: List = serde_json::from_str(json)?;
    for item in list.items {
        let object: Object = serde_json::from_value(item)?;
        match list.kind.as_str() {
            "NodeList" => inventory.add_node(object.node(form)?),
            "PodList" => inventory.add_pod(object.pod(form)?),
            "NamespaceList" => {
                let (name, uid) = object.namespace()?;
                inventory.add_namespace(name, uid)
            }
            kind => return Err(BadObjects::Kind(kind.to_owned())),
        };
    }
    Ok(())
}

impl Object {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.metadata.name
    }

    /// Which version of it this is.
    pub fn resource_version(&self) -> &str {
        &self.metadata.resource_version
    }

    /// Its name, as a node's.
    pub fn node_name(&self) -> Result<NodeName, BadObjects> {
        named("metadata.name", self, NodeName::parse(&self.metadata.name))
    }

    /// What it says as a node.
    pub fn node(&self, form: &LabelForm) -> Result<NodeRecord, BadObjects> {
        let own = &self.metadata.labels;
        let hostname = self.status.addresses.iter().rfind(|address| address.kind == "Hostname");
        Ok(NodeRecord {
            name: self.node_name()?,
            hostname: hostname.map_or(&self.metadata.name, |found| &found.address).clone(),
            host_id: self.spec.external_id.clone(),
            labels: labels(own, form),
            own_labels: labels(own, &LabelForm::default()),
            stored_labels: stored_labels(own, form),
            capacity: resources(self, &self.status.capacity)?,
            allocatable: resources(self, &self.status.allocatable)?,
        })
    }

    /// Its name and uid, as a namespace's.
    pub fn namespace(&self) -> Result<(NamespaceName, Arc<str>), BadObjects> {
        let name = named("metadata.name", self, NamespaceName::parse(&self.metadata.name))?;
        Ok((name, self.metadata.uid.as_str().into()))
    }

    /// Its names and uid, as a pod's.
    pub fn pod_key(&self) -> Result<(PodKey, PodUid), BadObjects> {
        let Metadata { name, namespace, uid, .. } = &self.metadata;
        let namespace = named("metadata.namespace", self, NamespaceName::parse(namespace))?;
        let name = named("metadata.name", self, PodName::parse(name))?;
        Ok((PodKey { namespace, name }, named("metadata.uid", self, PodUid::parse(uid))?))
    }

    /// What it says as a pod.
    pub fn pod(&self, form: &LabelForm) -> Result<PodRecord, BadObjects> {
        let (key, uid) = self.pod_key()?;
        let Metadata { labels: own, annotations, owner_references, .. } = &self.metadata;
        let static_uid = annotations.static_uid.as_deref().map(PodUid::parse).transpose();
        let created = self.metadata.creation_timestamp;
        let created = created.map(|created| UnixMs(created.as_millisecond()));
        let workload = owner::workload(owner_references, own, created);
        let containers = self.spec.containers.iter().map(|spec| container(self, spec));
        Ok(PodRecord {
            key,
            uid,
            static_uid: named(STATIC_UID, self, static_uid)?,
            node: named("spec.nodeName", self, NodeName::parse_optional(&self.spec.node_name))?,
            workload: named("metadata.ownerReferences", self, workload)?,
            labels: labels(own, form),
            own_labels: labels(own, &LabelForm::default()),
            stored_labels: stored_labels(own, form),
            containers: containers.collect::<Result<_, _>>()?,
            helpers: helpers(&self.status),
        })
    }
}

/// Init and debug containers that have begun.
fn helpers(status: &Status) -> Box<[HelperRecord]> {
    let all = status.init_container_statuses.iter().chain(&status.ephemeral_container_statuses);
    let named = all.filter_map(|status| {
        let name = ContainerName::parse(&status.name).ok()?;
        Some(HelperRecord { name, id: status.id()? })
    });
    named.collect()
}

impl ContainerStatus {
    /// `containerd://0123…`: the runtime's name stands before the id.
    fn id(&self) -> Option<ContainerId> {
        let (_, id) = self.container_id.split_once("://")?;
        ContainerId::parse(id).ok()
    }
}

fn container(object: &Object, spec: &Container) -> Result<ContainerRecord, BadObjects> {
    let status = object.status.container_statuses.iter().find(|status| status.name == spec.name);
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
        id: status.and_then(ContainerStatus::id),
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

/// Heapster's form: `key:value`, sorted as such, joined by a separator.
fn labels(labels: &BTreeMap<String, String>, form: &LabelForm) -> Arc<str> {
    let wanted = labels.iter().filter(|(key, _)| !form.ignored.contains(*key));
    let mut pairs: Vec<_> = wanted.map(|(key, value)| format!("{key}:{value}")).collect();
    pairs.sort_unstable();
    pairs.join(&form.separator).into()
}

/// Those that are labels of their own. A label with an empty value says no more than none does, and
/// one that is longer than an API server lets it be is none of Kubernetes.
fn stored_labels(labels: &BTreeMap<String, String>, form: &LabelForm) -> Option<Arc<Labels>> {
    let value =
        |own: &str| labels.get(own).filter(|value| (1..=LABEL_VALUE_BYTES).contains(&value.len()));
    let pairs: Vec<(&str, &str)> = form
        .stored
        .iter()
        .filter_map(|(own, stored)| Some((stored.as_str(), value(own)?.as_str())))
        .collect();
    // Names were checked when the form was made.
    let stored = Labels::new(pairs).ok().filter(|stored| !stored.is_empty());
    stored.map(Arc::new)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(form: &LabelForm, expected: &str) {
        let own = [("app", "web"), ("app-x", "1"), ("zone", "a")];
        let own = own.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(*labels(&own, form), *expected);
    }

    fn leaves_out_app() -> LabelForm {
        let (separator, ignored) = ("; ".to_owned(), ["app".to_owned()].into());
        LabelForm { separator, ignored, ..LabelForm::default() }
    }

    #[test]
    fn labels_are_sorted_as_heapster_sorted_them() {
        check(&LabelForm::default(), "app-x:1,app:web,zone:a");
    }

    #[test]
    fn an_object_has_all_of_its_labels_whatever_the_form() {
        let form = leaves_out_app();
        let text = r#"{"metadata": {"name": "n", "namespace": "s", "uid": "u", "labels": {"app": "web", "zone": "a"}}}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        let (node, pod) = (object.node(&form).unwrap(), object.pod(&form).unwrap());
        assert_eq!((&*node.labels, &*node.own_labels), ("zone:a", "app:web,zone:a"));
        assert_eq!((&*pod.labels, &*pod.own_labels), ("zone:a", "app:web,zone:a"));
    }

    #[test]
    fn labels_that_are_ignored_are_left_out_and_the_separator_is_as_wished() {
        check(&leaves_out_app(), "app-x:1; zone:a");
    }

    #[test]
    fn labels_that_are_stored_have_their_names_and_no_empty_value() {
        let names = [("app", "app"), ("zone.io/zone", "zone"), ("none", "none"), ("off", "off")];
        let stored = names.map(|(own, stored)| (own.to_owned(), stored.to_owned())).into();
        // What the text leaves out is stored all the same.
        let form = LabelForm { stored, ..leaves_out_app() };
        let text = r#"{"metadata": {"name": "n", "namespace": "s", "uid": "u",
            "labels": {"app": "web", "zone.io/zone": "a", "none": "", "team": "x"}}}"#;
        let object: Object = serde_json::from_str(text).unwrap();
        let expected = Labels::new([("app", "web"), ("zone", "a")]).unwrap();
        let (node, pod) = (object.node(&form).unwrap(), object.pod(&form).unwrap());
        assert_eq!(node.stored_labels.as_deref(), Some(&expected));
        assert_eq!(pod.stored_labels.as_deref(), Some(&expected));
        assert_eq!(*pod.labels, *"none:; team:x; zone.io/zone:a");
        assert_eq!(object.pod(&leaves_out_app()).unwrap().stored_labels, None);
        let form = LabelForm { stored: [("off".to_owned(), "off".to_owned())].into(), ..form };
        assert_eq!(object.pod(&form).unwrap().stored_labels, None);
    }
}

//! What the API server knew of one node and its pods, as bytes: a frame read back from the journal
//! gets the names, requests and limits that it had when it came.

use std::sync::Arc;

use tally_proto::{
    declaration::PodKey,
    limits::{IMAGE_BYTES, METRIC_NAME_BYTES, NAME_BYTES, PATH_BYTES},
    metric::{Labels, MetricName},
    name::{
        BadName, ContainerId, ContainerName, ImageName, NamespaceName, NodeName, PodName, PodUid,
        WorkloadKind, WorkloadName,
    },
};

use crate::{
    history::{
        codec::{
            Malformed,
            bytes::{
                push_length, push_signed, push_text, take_at_most, take_byte, take_signed,
                take_text,
            },
        },
        series::{push_labels, take_labels},
    },
    inventory::{
        ContainerRecord, HelperRecord, Inventory, NodeRecord, PodRecord, Resources, Workload,
    },
    roster::Roster,
};

/// Pods of one node, containers of one pod, requests of one container: far beyond what there is.
const COUNT_MAX: usize = 100_000;

/// A text that only the API server bounds, such as all labels of a pod.
const TEXT_BYTES: usize = 1 << 20;

/// Everything of the inventory that a roster names; empty when it names nothing.
pub fn encode(roster: &Roster) -> Vec<u8> {
    let mut out = Vec::new();
    let pods: Vec<_> = roster
        .pods
        .iter()
        .filter_map(|pod| Some((pod.record.as_ref()?, pod.namespace_uid.as_ref())))
        .collect();
    let namespaces = roster.pods.iter().filter(|pod| pod.record.is_none());
    let namespaces: Vec<_> = namespaces
        .filter_map(|pod| Some((&pod.key.namespace, pod.namespace_uid.as_ref()?)))
        .collect();
    if roster.node_record.is_none() && pods.is_empty() && namespaces.is_empty() {
        return out;
    }
    match &roster.node_record {
        None => out.push(0),
        Some(node) => {
            out.push(1);
            push_node(node, &mut out);
        }
    }
    push_length(pods.len(), &mut out);
    for (pod, namespace_uid) in &pods {
        push_pod(pod, &mut out);
        push_option(namespace_uid.map(|uid| &**uid), &mut out);
    }
    push_length(namespaces.len(), &mut out);
    for (namespace, uid) in namespaces {
        push_text(namespace, &mut out);
        push_text(uid, &mut out);
    }
    for (pod, _) in &pods {
        push_pod_end(pod, &mut out);
    }
    if let Some(node) = &roster.node_record {
        push_own_labels(&node.own_labels, &node.labels, &mut out);
    }
    for (pod, _) in &pods {
        push_own_labels(&pod.own_labels, &pod.labels, &mut out);
    }
    let node = roster.node_record.iter().map(|node| &node.stored_labels);
    push_stored_labels(node.chain(pods.iter().map(|(pod, _)| &pod.stored_labels)), &mut out);
    out
}

/// The reverse of [`encode`].
pub fn decode(bytes: &[u8]) -> Result<Inventory, Malformed> {
    let mut inventory = Inventory::default();
    let bytes = &mut &*bytes;
    if bytes.is_empty() {
        return Ok(inventory);
    }
    let mut node = match take_byte(bytes, "a node")? {
        0 => None,
        _ => Some(take_node(bytes)?),
    };
    let mut pods = Vec::new();
    for _ in 0..take_at_most(bytes, COUNT_MAX, "pods")? {
        let pod = take_pod(bytes)?;
        if let Some(uid) = take_option(bytes)? {
            inventory.add_namespace(pod.key.namespace.clone(), uid.into());
        }
        pods.push(pod);
    }
    for _ in 0..take_at_most(bytes, COUNT_MAX, "namespaces")? {
        let namespace = name(bytes, NAME_BYTES, NamespaceName::parse)?;
        let uid: Arc<str> = take_text(bytes, TEXT_BYTES, "a uid")?.into();
        inventory.add_namespace(namespace, uid);
    }
    // The oldest versions end here, and older ones after the ends of pods or after all labels.
    if !bytes.is_empty() {
        pods.iter_mut().try_for_each(|pod| take_pod_end(pod, bytes))?;
    }
    if !bytes.is_empty() {
        if let Some(node) = &mut node {
            node.own_labels = take_own_labels(&node.labels, bytes)?;
        }
        for pod in &mut pods {
            pod.own_labels = take_own_labels(&pod.labels, bytes)?;
        }
    }
    if !bytes.is_empty() {
        let of_node = node.iter_mut().map(|node| &mut node.stored_labels);
        for stored in of_node.chain(pods.iter_mut().map(|pod| &mut pod.stored_labels)) {
            *stored = take_stored_labels(bytes)?;
        }
    }
    if let Some(node) = node {
        inventory.add_node(node);
    }
    for pod in pods {
        inventory.add_pod(pod);
    }
    if bytes.is_empty() { Ok(inventory) } else { Err(Malformed::Range("what is known")) }
}

fn push_node(node: &NodeRecord, out: &mut Vec<u8>) {
    let NodeRecord { name, hostname, host_id, labels, capacity, allocatable, .. } = node;
    for text in [name.as_str(), hostname, host_id, labels] {
        push_text(text, out);
    }
    push_resources(capacity, out);
    push_resources(allocatable, out);
}

fn take_node(bytes: &mut &[u8]) -> Result<NodeRecord, Malformed> {
    Ok(NodeRecord {
        name: name(bytes, NAME_BYTES, NodeName::parse)?,
        hostname: take_text(bytes, TEXT_BYTES, "a host's name")?.to_owned(),
        host_id: take_text(bytes, TEXT_BYTES, "a host's id")?.to_owned(),
        labels: take_text(bytes, TEXT_BYTES, "labels")?.into(),
        own_labels: Arc::default(),
        stored_labels: None,
        capacity: take_resources(bytes)?,
        allocatable: take_resources(bytes)?,
    })
}

fn push_pod(pod: &PodRecord, out: &mut Vec<u8>) {
    // Which node it was given to, the stream says. The rest is in its end.
    let PodRecord { key, uid, labels, containers, .. } = pod;
    for text in [key.namespace.as_str(), key.name.as_str(), &uid.to_string(), labels] {
        push_text(text, out);
    }
    push_length(containers.len(), out);
    for container in containers {
        push_container(container, out);
    }
}

fn take_pod(bytes: &mut &[u8]) -> Result<PodRecord, Malformed> {
    let key = PodKey {
        namespace: name(bytes, NAME_BYTES, NamespaceName::parse)?,
        name: name(bytes, NAME_BYTES, PodName::parse)?,
    };
    let uid = name(bytes, NAME_BYTES, PodUid::parse)?;
    let labels = take_text(bytes, TEXT_BYTES, "labels")?.into();
    let count = take_at_most(bytes, COUNT_MAX, "containers")?;
    let containers = (0..count).map(|_| take_container(bytes)).collect::<Result<_, _>>()?;
    let helpers = Box::default();
    Ok(PodRecord {
        key,
        uid,
        static_uid: None,
        node: None,
        workload: None,
        labels,
        own_labels: Arc::default(),
        stored_labels: None,
        containers,
        helpers,
    })
}

/// Mostly they are what is there already.
fn push_own_labels(own: &Arc<str>, labels: &Arc<str>, out: &mut Vec<u8>) {
    push_option(Some(&**own).filter(|own| *own != &**labels), out);
}

fn take_own_labels(labels: &Arc<str>, bytes: &mut &[u8]) -> Result<Arc<str>, Malformed> {
    Ok(take_option(bytes)?.map_or_else(|| Arc::clone(labels), Arc::from))
}

/// Nothing at all where nobody has any, so that who does not store labels says what older versions
/// said.
fn push_stored_labels<'a>(
    all: impl Iterator<Item = &'a Option<Arc<Labels>>> + Clone,
    out: &mut Vec<u8>,
) {
    if all.clone().any(Option::is_some) {
        let none = Labels::none();
        all.for_each(|stored| push_labels(stored.as_deref().unwrap_or(&none), out));
    }
}

fn take_stored_labels(bytes: &mut &[u8]) -> Result<Option<Arc<Labels>>, Malformed> {
    let stored = take_labels(bytes)?;
    Ok((!stored.is_empty()).then(|| Arc::new(stored)))
}

/// What older versions did not know of a pod.
fn push_pod_end(pod: &PodRecord, out: &mut Vec<u8>) {
    let PodRecord { static_uid, workload, helpers, .. } = pod;
    push_option(static_uid.as_ref().map(PodUid::to_string).as_deref(), out);
    push_option(workload.as_ref().map(|workload| workload.kind.as_str()), out);
    push_option(workload.as_ref().map(|workload| workload.name.as_str()), out);
    push_length(helpers.len(), out);
    for HelperRecord { name, id } in helpers {
        push_text(name, out);
        push_text(&id.to_string(), out);
    }
}

fn take_pod_end(pod: &mut PodRecord, bytes: &mut &[u8]) -> Result<(), Malformed> {
    let bad = |_: BadName| Malformed::Range("a name");
    pod.static_uid = take_option(bytes)?.map(PodUid::parse).transpose().map_err(bad)?;
    let kind = take_option(bytes)?.map(WorkloadKind::parse).transpose().map_err(bad)?;
    let own = take_option(bytes)?.map(WorkloadName::parse).transpose().map_err(bad)?;
    pod.workload = kind.zip(own).map(|(kind, name)| Arc::new(Workload { kind, name }));
    let mut helpers = Vec::new();
    for _ in 0..take_at_most(bytes, COUNT_MAX, "helpers")? {
        let own = name(bytes, PATH_BYTES, ContainerName::parse)?;
        helpers.push(HelperRecord { name: own, id: name(bytes, NAME_BYTES, ContainerId::parse)? });
    }
    pod.helpers = helpers.into();
    Ok(())
}

fn push_container(container: &ContainerRecord, out: &mut Vec<u8>) {
    let ContainerRecord { name, image, id, requests, limits, extended, restart_count } = container;
    push_text(name, out);
    push_option(image.as_ref().map(ImageName::as_str), out);
    push_option(id.as_ref().map(ContainerId::to_string).as_deref(), out);
    push_resources(requests, out);
    push_resources(limits, out);
    push_length(extended.len(), out);
    for (metric, amount) in extended {
        push_text(metric.as_str(), out);
        push_signed(*amount, out);
    }
    push_amount(*restart_count, out);
}

fn take_container(bytes: &mut &[u8]) -> Result<ContainerRecord, Malformed> {
    let own = name(bytes, PATH_BYTES, ContainerName::parse)?;
    let image = take_option(bytes)?.filter(|image| image.len() <= IMAGE_BYTES);
    let id = take_option(bytes)?;
    let bad = |_: BadName| Malformed::Range("a name");
    Ok(ContainerRecord {
        name: own,
        image: image.map(ImageName::parse).transpose().map_err(bad)?,
        id: id.map(ContainerId::parse).transpose().map_err(bad)?,
        requests: take_resources(bytes)?,
        limits: take_resources(bytes)?,
        extended: {
            let count = take_at_most(bytes, COUNT_MAX, "requests")?;
            let mut extended = Vec::new();
            for _ in 0..count {
                let metric = name(bytes, METRIC_NAME_BYTES, MetricName::parse)?;
                extended.push((metric, take_signed(bytes, "a request")?));
            }
            extended
        },
        restart_count: take_amount(bytes)?,
    })
}

fn push_resources(resources: &Resources, out: &mut Vec<u8>) {
    let Resources { cpu_millicores, memory_bytes, ephemeral_storage_bytes } = *resources;
    for amount in [cpu_millicores, memory_bytes, ephemeral_storage_bytes] {
        push_amount(amount, out);
    }
}

fn take_resources(bytes: &mut &[u8]) -> Result<Resources, Malformed> {
    Ok(Resources {
        cpu_millicores: take_amount(bytes)?,
        memory_bytes: take_amount(bytes)?,
        ephemeral_storage_bytes: take_amount(bytes)?,
    })
}

fn push_amount(amount: Option<i64>, out: &mut Vec<u8>) {
    match amount {
        None => out.push(0),
        Some(amount) => {
            out.push(1);
            push_signed(amount, out);
        }
    }
}

fn take_amount(bytes: &mut &[u8]) -> Result<Option<i64>, Malformed> {
    match take_byte(bytes, "an amount")? {
        0 => Ok(None),
        _ => take_signed(bytes, "an amount").map(Some),
    }
}

fn push_option(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        None => out.push(0),
        Some(text) => {
            out.push(1);
            push_text(text, out);
        }
    }
}

fn take_option<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a str>, Malformed> {
    match take_byte(bytes, "a text")? {
        0 => Ok(None),
        _ => take_text(bytes, TEXT_BYTES, "a text").map(Some),
    }
}

fn name<T, E>(
    bytes: &mut &[u8],
    most: usize,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<T, Malformed> {
    parse(take_text(bytes, most, "a name")?).map_err(|_| Malformed::Range("a name"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Roster {
        let pod = PodRecord {
            key: PodKey {
                namespace: NamespaceName::parse("default").unwrap(),
                name: PodName::parse("web-1").unwrap(),
            },
            uid: PodUid::parse("e2b0f2a4-0000-4000-8000-000000000001").unwrap(),
            static_uid: Some(PodUid::parse(&"01".repeat(16)).unwrap()),
            node: None,
            workload: Some(Arc::new(Workload {
                kind: WorkloadKind::parse("deployment").unwrap(),
                name: WorkloadName::parse("web").unwrap(),
            })),
            labels: "app:web".into(),
            own_labels: "app:web,team:a".into(),
            stored_labels: Some(Arc::new(Labels::new([("squad", "a")]).unwrap())),
            helpers: Box::new([HelperRecord {
                name: ContainerName::parse("init").unwrap(),
                id: ContainerId::parse(&"cd".repeat(32)).unwrap(),
            }]),
            containers: Box::new([ContainerRecord {
                name: ContainerName::parse("app").unwrap(),
                image: Some(ImageName::parse("nginx:1").unwrap()),
                id: Some(ContainerId::parse(&"ab".repeat(32)).unwrap()),
                requests: Resources { cpu_millicores: Some(250), ..Resources::default() },
                limits: Resources { memory_bytes: Some(1 << 30), ..Resources::default() },
                extended: vec![(MetricName::parse("nvidia.com/gpu/request").unwrap(), 2)],
                restart_count: Some(3),
            }]),
        };
        let node = NodeRecord {
            name: NodeName::parse("node-a").unwrap(),
            hostname: "node-a.example".to_owned(),
            host_id: String::new(),
            labels: "zone:1".into(),
            own_labels: "zone:1".into(),
            stored_labels: None,
            capacity: Resources { cpu_millicores: Some(4000), ..Resources::default() },
            allocatable: Resources::default(),
        };
        let of_pod = crate::roster::Pod {
            key: pod.key.clone(),
            uid: pod.uid.clone(),
            namespace_uid: Some("ns-uid".into()),
            record: Some(Arc::new(pod)),
            row: tally_proto::declaration::EntityNumber(1),
            containers: Vec::new(),
        };
        Roster { node_record: Some(Arc::new(node)), pods: vec![of_pod], ..Roster::default() }
    }

    /// The same without labels that are stored.
    fn stores_nothing(roster: &Roster) -> Roster {
        let mut roster = roster.clone();
        let pod = Arc::make_mut(roster.pods[0].record.as_mut().unwrap());
        pod.stored_labels = None;
        roster
    }

    #[test]
    fn what_is_known_comes_back() {
        let roster = sample();
        let found = decode(&encode(&roster)).unwrap();
        let pod = &roster.pods[0];
        assert_eq!(found.pod(&pod.key), pod.record.as_ref());
        assert_eq!(found.pod_of_uid(&pod.uid), pod.record.as_ref());
        assert_eq!(found.namespace_uid(&pod.key.namespace), pod.namespace_uid.as_ref());
        let node = roster.node_record.as_ref();
        assert_eq!(found.node(&node.unwrap().name), node);
    }

    #[test]
    fn what_an_older_version_wrote_lacks_what_it_did_not_know() {
        let roster = sample();
        let (mut bytes, mut end) = (encode(&roster), Vec::new());
        let (node, known) = (roster.node_record.as_ref().unwrap(), &roster.pods[0].record);
        let known = known.as_ref().unwrap();
        push_stored_labels([&node.stored_labels, &known.stored_labels].into_iter(), &mut end);
        bytes.truncate(bytes.len() - end.len());
        let found = decode(&bytes).unwrap();
        let pod = found.pod(&known.key).unwrap();
        assert_eq!((&*pod.own_labels, &pod.stored_labels), ("app:web,team:a", &None));
        assert_eq!(encode(&stores_nothing(&roster)), bytes);
        end.clear();
        push_own_labels(&node.own_labels, &node.labels, &mut end);
        push_own_labels(&known.own_labels, &known.labels, &mut end);
        bytes.truncate(bytes.len() - end.len());
        let found = decode(&bytes).unwrap();
        let pod = found.pod(&known.key).unwrap();
        assert_eq!((&*pod.own_labels, pod.helpers.len()), ("", 1));
        end.clear();
        push_pod_end(known, &mut end);
        bytes.truncate(bytes.len() - end.len());
        let found = decode(&bytes).unwrap();
        let pod = found.pod(&known.key).unwrap();
        assert_eq!((&pod.static_uid, &pod.workload, pod.helpers.len()), (&None, &None, 0));
        assert_eq!(*pod.labels, *"app:web");
    }

    #[test]
    fn nothing_known_is_no_bytes() {
        assert!(encode(&Roster::default()).is_empty());
        assert!(decode(&[]).unwrap().node(&NodeName::parse("node-a").unwrap()).is_none());
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(at in 0usize..200, byte: u8, cut in 0usize..200) {
            let mut bytes = encode(&sample());
            let at = at % bytes.len();
            bytes[at] = byte;
            bytes.truncate(cut.max(1));
            let _unread = decode(&bytes);
        }
    }
}

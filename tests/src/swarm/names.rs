//! Names as long as those of real clusters, so that memory is measured honestly.

use tally_proto::{
    declaration::PodKey,
    name::{
        BadName, CgroupPath, ContainerId, ContainerName, NamespaceName, NodeName, PodName, PodUid,
    },
};

use super::random::Random;

/// The letters that Kubernetes makes random suffixes of.
const SUFFIX: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
const HEX: &[u8] = b"0123456789abcdef";

const TEAMS: [&str; 10] = [
    "payments",
    "checkout",
    "search",
    "identity",
    "catalog",
    "shipping",
    "billing",
    "media",
    "analytics",
    "platform",
];
const STAGES: [&str; 3] = ["prod", "staging", "dev"];
const APPS: [&str; 12] = [
    "web",
    "api-gateway",
    "worker",
    "cache",
    "frontend",
    "ingest-consumer",
    "scheduler",
    "auth",
    "orders-backend",
    "notifier",
    "db-proxy",
    "thumbnailer",
];
const CONTAINERS: [&str; 6] =
    ["app", "istio-proxy", "log-shipper", "metrics-exporter", "config-reloader", "vault-agent"];
const SERVICES: [&str; 8] = [
    "containerd.service",
    "kubelet.service",
    "sshd.service",
    "systemd-journald.service",
    "chronyd.service",
    "node-exporter",
    "dbus.service",
    "systemd-udevd.service",
];

/// One pod's identity.
#[derive(Clone, Debug)]
pub struct PodIdentity {
    /// Namespace and name.
    pub key: PodKey,
    /// Its uid.
    pub uid: PodUid,
    /// Its cgroup.
    pub path: CgroupPath,
}

/// One container's identity.
#[derive(Clone, Debug)]
pub struct ContainerIdentity {
    /// Its name.
    pub name: ContainerName,
    /// The runtime's id.
    pub id: Option<ContainerId>,
    /// Its cgroup.
    pub path: CgroupPath,
}

/// The name of a node by its number.
pub fn node(number: u32) -> Result<NodeName, BadName> {
    NodeName::parse(&format!(
        "ip-10-{}-{}-{}.compute.internal",
        number / 65_536,
        number / 256 % 256,
        number % 256
    ))
}

/// The name of a namespace by its number.
pub fn namespace(number: u64) -> String {
    let team = pick(&TEAMS, number % 10);
    format!("{team}-{}", pick(&STAGES, number / 10 % 3))
}

/// A new pod, in one of so many namespaces.
pub fn pod(random: &mut Random, namespaces: u64) -> Result<PodIdentity, BadName> {
    // Namespaces differ in size: half of all pods are in a quarter of them.
    let namespace = namespace(random.below(namespaces).min(random.below(namespaces)));
    let app = pick(&APPS, random.bits());
    let (hash, suffix) = (text(random, SUFFIX, 10), text(random, SUFFIX, 5));
    let hex = |random: &mut Random, length| text(random, HEX, length);
    let uid = [8, 4, 4, 4, 12].map(|length| hex(random, length)).join("-");
    let path = format!(
        "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{}.slice",
        uid.replace('-', "_")
    );
    Ok(PodIdentity {
        key: PodKey {
            namespace: NamespaceName::parse(&namespace)?,
            name: PodName::parse(&format!("{app}-{hash}-{suffix}"))?,
        },
        uid: PodUid::parse(&uid)?,
        path: CgroupPath::parse(&path)?,
    })
}

/// The `number`-th container of a pod.
pub fn container(
    random: &mut Random,
    pod: &PodIdentity,
    number: u32,
) -> Result<ContainerIdentity, BadName> {
    let name = match CONTAINERS.get(usize::try_from(number).unwrap_or(usize::MAX)) {
        Some(name) => (*name).to_owned(),
        None => format!("sidecar-{number}"),
    };
    let id = text(random, HEX, 64);
    Ok(ContainerIdentity {
        name: ContainerName::parse(&name)?,
        path: CgroupPath::parse(&format!("{}/cri-containerd-{id}.scope", pod.path))?,
        id: Some(ContainerId::parse(&id)?),
    })
}

/// The `number`-th free container of a node: a service of systemd.
pub fn free_container(number: u32) -> Result<ContainerIdentity, BadName> {
    let path = match SERVICES.get(usize::try_from(number).unwrap_or(usize::MAX)) {
        Some(service) => format!("/system.slice/{service}"),
        None => format!("/system.slice/service-{number}.service"),
    };
    Ok(ContainerIdentity {
        name: ContainerName::parse(&path)?,
        id: None,
        path: CgroupPath::parse(&path)?,
    })
}

fn text(random: &mut Random, letters: &[u8], length: usize) -> String {
    let count = u64::try_from(letters.len()).unwrap_or(0);
    let letter = |_| {
        let place = usize::try_from(random.below(count)).unwrap_or(0);
        letters.get(place).copied().map_or('x', char::from)
    };
    (0..length).map(letter).collect()
}

fn pick(words: &[&'static str], number: u64) -> &'static str {
    let count = u64::try_from(words.len().max(1)).unwrap_or(1);
    let place = usize::try_from(number % count).unwrap_or(0);
    words.get(place).copied().unwrap_or("x")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swarm::shape::NAMESPACES;

    #[test]
    fn names_look_like_those_of_a_real_cluster() {
        let mut random = Random::new(1, 1);
        let pod = pod(&mut random, NAMESPACES).unwrap();
        assert_eq!(pod.uid.to_string().len(), 36);
        assert!(14 < pod.key.name.len() && pod.key.name.len() < 40, "{}", pod.key.name);
        let container = container(&mut random, &pod, 0).unwrap();
        assert_eq!(container.id.unwrap().to_string().len(), 64);
        assert!(container.path.starts_with("/kubepods.slice/"));
    }

    #[test]
    fn there_are_thirty_namespaces() {
        let names: std::collections::BTreeSet<String> = (0..NAMESPACES).map(namespace).collect();
        assert_eq!(names.len(), 30);
    }
}

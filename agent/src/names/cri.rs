//! The part of the Container Runtime Interface that has names, and what it means.
//!
//! `runtime.v1` and `runtime.v1alpha2` give these messages the same numbers. Fields that are not read
//! are left out: labels and annotations are most of an answer.

use std::collections::HashMap;

use prost::Message;
use tally_proto::{
    declaration::PodKey,
    name::{ContainerId, ContainerName, ImageName, NamespaceName, PodName},
};

use super::Called;

/// Asks for sandboxes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListPodSandboxRequest {
    /// All when absent.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<IdFilter>,
}

/// Asks for containers.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListContainersRequest {
    /// All when absent.
    #[prost(message, optional, tag = "1")]
    pub filter: Option<IdFilter>,
}

/// `PodSandboxFilter` and `ContainerFilter`: only the one of that id.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct IdFilter {
    /// The id.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// Sandboxes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListPodSandboxResponse {
    /// In no order.
    #[prost(message, repeated, tag = "1")]
    pub items: Vec<PodSandbox>,
}

/// Containers.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListContainersResponse {
    /// In no order.
    #[prost(message, repeated, tag = "1")]
    pub containers: Vec<Container>,
}

/// A sandbox: the pod it is for.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandbox {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// The pod's names.
    #[prost(message, optional, tag = "2")]
    pub metadata: Option<PodSandboxMetadata>,
}

/// A pod's names.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct PodSandboxMetadata {
    /// The pod.
    #[prost(string, tag = "1")]
    pub name: String,
    /// The namespace.
    #[prost(string, tag = "3")]
    pub namespace: String,
}

/// A container of a pod.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct Container {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
    /// Its pod's sandbox.
    #[prost(string, tag = "2")]
    pub pod_sandbox_id: String,
    /// Its name.
    #[prost(message, optional, tag = "3")]
    pub metadata: Option<ContainerMetadata>,
    /// Its image.
    #[prost(message, optional, tag = "4")]
    pub image: Option<ImageSpec>,
}

/// A container's name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerMetadata {
    /// In the pod's specification.
    #[prost(string, tag = "1")]
    pub name: String,
}

/// An image.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ImageSpec {
    /// A name or a digest: kubelets start containers by digest.
    #[prost(string, tag = "1")]
    pub image: String,
    /// As the pod's specification names it; kubelets before 1.29 do not say.
    #[prost(string, tag = "18")]
    pub user_specified_image: String,
}

/// Asks for one container, its image by name.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerStatusRequest {
    /// Its id.
    #[prost(string, tag = "1")]
    pub container_id: String,
}

/// One container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerStatusResponse {
    /// It.
    #[prost(message, optional, tag = "1")]
    pub status: Option<ContainerStatus>,
}

/// What a list does not tell of a container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerStatus {
    /// The image, by one of its names where it has any.
    #[prost(message, optional, tag = "8")]
    pub image: Option<ImageSpec>,
}

impl ImageSpec {
    /// Its name, as people wrote it. A digest is none.
    pub fn name(&self) -> Option<&str> {
        let is_name = |image: &&str| !image.is_empty() && !is_digest(image);
        [&*self.user_specified_image, &*self.image].into_iter().find(is_name)
    }
}

/// `sha256:…`, or only the digits, as CRI-O writes it.
fn is_digest(image: &str) -> bool {
    let digits = image.strip_prefix("sha256:").unwrap_or(image);
    digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What everybody in two lists is called. Whoever has no name of the allowed form is left out.
pub fn called(sandboxes: &[PodSandbox], containers: &[Container]) -> HashMap<ContainerId, Called> {
    let pods: HashMap<&str, PodKey> = sandboxes
        .iter()
        .filter_map(|sandbox| Some((&*sandbox.id, pod_key(sandbox.metadata.as_ref()?)?)))
        .collect();
    let sandboxes = pods
        .iter()
        .filter_map(|(id, pod)| Some((ContainerId::parse(id).ok()?, Called::Sandbox(pod.clone()))));
    let containers = containers.iter().filter_map(|container| {
        let pod = pods.get(&*container.pod_sandbox_id)?.clone();
        let name = ContainerName::parse(&container.metadata.as_ref()?.name).ok()?;
        let image = container.image.as_ref().and_then(ImageSpec::name);
        let image = image.and_then(|image| ImageName::parse(image).ok());
        Some((ContainerId::parse(&container.id).ok()?, Called::InPod { pod, name, image }))
    });
    sandboxes.chain(containers).collect()
}

fn pod_key(metadata: &PodSandboxMetadata) -> Option<PodKey> {
    Some(PodKey {
        namespace: NamespaceName::parse(&metadata.namespace).ok()?,
        name: PodName::parse(&metadata.name).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What containerd 1.6 answered of the pods of tests/setup/cri-pods.
    const SANDBOXES: &[u8] = include_bytes!("../../tests/answers/containerd-1.6-sandboxes.bin");
    const CONTAINERS: &[u8] = include_bytes!("../../tests/answers/containerd-1.6-containers.bin");

    fn words(called: &Called) -> String {
        match called {
            Called::Sandbox(pod) => format!("{}/{}", pod.namespace, pod.name),
            Called::InPod { pod, name, image } => {
                let image = image.as_ref().map_or("", ImageName::as_str);
                format!("{}/{}/{name} {image}", pod.namespace, pod.name)
            }
            Called::Free { name, .. } => name.to_string(),
        }
    }

    #[test]
    fn a_recorded_answer_names_pods_and_containers() {
        let sandboxes = ListPodSandboxResponse::decode(SANDBOXES).unwrap().items;
        let containers = ListContainersResponse::decode(CONTAINERS).unwrap().containers;
        let called = called(&sandboxes, &containers);
        let mut all: Vec<String> = called.values().map(words).collect();
        all.sort();
        let image = "registry.local/busybox:1";
        let expected = [
            "default/agent".to_owned(),
            format!("default/agent/main {image}"),
            "default/batch".to_owned(),
            format!("default/batch/burn {image}"),
            format!("default/batch/io {image}"),
            "default/web".to_owned(),
            format!("default/web/cli {image}"),
            format!("default/web/srv {image}"),
        ];
        assert_eq!(all, expected);
        let id = "58241f79bc349c3003acfd83e6c9f712a1318f9402290e608369f69c771a2060";
        let found = called.get(&ContainerId::parse(id).unwrap()).map(words);
        assert_eq!(found.as_deref(), Some("default/web/srv registry.local/busybox:1"));
    }

    #[track_caller]
    fn check_image(image: &str, user_specified: &str, name: Option<&str>) {
        let spec =
            ImageSpec { image: image.to_owned(), user_specified_image: user_specified.to_owned() };
        assert_eq!(spec.name(), name);
    }

    #[test]
    fn a_digest_is_no_name_of_an_image() {
        let digits = "0123456789abcdef".repeat(4);
        check_image("busybox:1", "", Some("busybox:1"));
        check_image(&format!("sha256:{digits}"), "", None);
        check_image(&digits, "", None);
        check_image(&format!("sha256:{digits}"), "busybox:1", Some("busybox:1"));
        let by_digest = format!("busybox@sha256:{digits}");
        check_image(&by_digest, "", Some(&by_digest));
        check_image("", "", None);
    }

    #[test]
    fn whoever_has_no_allowed_name_is_left_out() {
        let named = |namespace: &str, name: &str| PodSandbox {
            id: "s".to_owned(),
            metadata: Some(PodSandboxMetadata {
                name: name.to_owned(),
                namespace: namespace.to_owned(),
            }),
        };
        let container = |sandbox: &str, name: &str| Container {
            id: "c".to_owned(),
            pod_sandbox_id: sandbox.to_owned(),
            metadata: Some(ContainerMetadata { name: name.to_owned() }),
            image: None,
        };
        let count = |sandbox, container| called(&[sandbox], &[container]).len();
        assert_eq!(count(named("a", "b"), container("s", "c")), 2);
        assert_eq!(count(named("a", "b"), container("other", "c")), 1);
        assert_eq!(count(named("a", "b"), container("s", "")), 1);
        assert_eq!(count(named("", "b"), container("s", "c")), 0);
        assert_eq!(count(PodSandbox::default(), Container::default()), 0);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_named(bytes: Vec<u8>) {
            let sandboxes = ListPodSandboxResponse::decode(&*bytes).unwrap_or_default().items;
            let containers = ListContainersResponse::decode(&*bytes).unwrap_or_default().containers;
            prop_assert!(called(&sandboxes, &containers).len() <= sandboxes.len() + containers.len());
        }
    }
}

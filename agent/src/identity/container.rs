//! The forms of a container's cgroup.
//!
//! Bare ids have 64 hexadecimal digits. Units are `RUNTIME-ID.scope`, and CRI-O and podman write
//! `RUNTIME-ID` without systemd too. `conmon` groups hold a container's monitor, not the container.
//! Where systemd's form of a path meets a runtime that does not speak to systemd, the path is taken
//! literally: `SLICE:RUNTIME:ID`.

use tally_proto::name::ContainerId;

use super::{Container, Runtime};

const ID_DIGITS: usize = 64;

/// Directories below the root whose children are containers by name: containerd's namespaces as
/// `ctr`, the kubelet and docker use them.
const CONTAINERD_NAMESPACES: [&str; 3] = ["/default", "/k8s.io", "/moby"];

/// A container directly in a pod's cgroup.
pub(super) fn in_pod(component: &str) -> Option<Container> {
    bare(component, None).or_else(|| prefixed(component))
}

/// A container that no pod owns.
pub(super) fn free(parents: &str, component: &str) -> Option<Container> {
    let parent = parents.rsplit('/').next().unwrap_or_default();
    match parent {
        // Podman's pods have bare ids; its containers stand in them.
        "libpod_parent" if is_id(component) => return None,
        "lxc" | "lxc.payload" => return named(component, Runtime::Lxc),
        _ => (),
    }
    if let Some(name) = component.strip_prefix("lxc.payload.") {
        return named(name, Runtime::Lxc);
    }
    if CONTAINERD_NAMESPACES.contains(&parents) {
        return named(component, Runtime::Containerd);
    }
    let runtime = (parents == "/docker").then_some(Runtime::Docker);
    bare(component, runtime).or_else(|| prefixed(component))
}

/// `SLICE:RUNTIME:ID`: the slice and the container.
pub(super) fn colon_form(component: &str) -> Option<(&str, Container)> {
    let mut parts = component.splitn(3, ':');
    let (slice, prefix, id) = (parts.next()?, parts.next()?, parts.next()?);
    let is_container = slice.ends_with(".slice") && !prefix.ends_with("conmon");
    let id = is_container.then(|| ContainerId::parse(id).ok())??;
    Some((slice, Container { id, runtime: runtime(prefix) }))
}

fn bare(component: &str, runtime: Option<Runtime>) -> Option<Container> {
    let id = is_id(component).then(|| ContainerId::parse(component).ok())??;
    Some(Container { id, runtime })
}

/// `RUNTIME-ID.scope` of any runtime, `RUNTIME-ID` of those known to write it.
fn prefixed(component: &str) -> Option<Container> {
    let unit = component.strip_suffix(".scope");
    let (prefix, id) = unit.unwrap_or(component).rsplit_once('-')?;
    let runtime = runtime(prefix);
    let is_container = is_id(id) && !prefix.ends_with("conmon");
    let is_known_form = unit.is_some() || runtime.is_some();
    let id = (is_container && is_known_form).then(|| ContainerId::parse(id).ok())??;
    Some(Container { id, runtime })
}

fn named(name: &str, runtime: Runtime) -> Option<Container> {
    Some(Container { id: ContainerId::parse(name).ok()?, runtime: Some(runtime) })
}

fn runtime(prefix: &str) -> Option<Runtime> {
    match prefix {
        "docker" => Some(Runtime::Docker),
        "cri-containerd" | "containerd" | "nerdctl" => Some(Runtime::Containerd),
        "crio" => Some(Runtime::CriO),
        "libpod" | "libpod-payload" => Some(Runtime::Podman),
        _ => None,
    }
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

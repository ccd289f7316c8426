//! The forms of a pod's cgroup.
//!
//! `cgroupfs`: `kubepods[/burstable|/besteffort]/podUID`. `systemd`: the same as one slice's name,
//! `kubepods[-burstable|-besteffort]-podUID.slice`, with `_` for each `-` of the uid, because a dash
//! in a slice's name is a level of its path. A kubelet's `--cgroup-root` puts more before either.
//! Guaranteed pods stand directly under `kubepods`.

use tally_proto::name::PodUid;

const CLASSES: [&str; 2] = ["burstable", "besteffort"];

/// The uid, if `component` below `parents` is a pod's cgroup.
pub(super) fn uid(parents: &str, component: &str) -> Option<PodUid> {
    match component.strip_suffix(".slice") {
        Some(slice) => in_slice(slice),
        None => in_cgroupfs(parents, component),
    }
}

fn in_slice(slice: &str) -> Option<PodUid> {
    let (parents, uid) = slice.rsplit_once("-pod")?;
    let top = CLASSES
        .iter()
        .find_map(|class| parents.strip_suffix(class)?.strip_suffix('-'))
        .unwrap_or(parents);
    let is_pods = top == "kubepods" || top.ends_with("-kubepods");
    is_pods.then(|| PodUid::parse(&uid.replace('_', "-")).ok())?
}

fn in_cgroupfs(parents: &str, component: &str) -> Option<PodUid> {
    let uid = component.strip_prefix("pod")?;
    let top = CLASSES
        .iter()
        .find_map(|class| parents.strip_suffix(class)?.strip_suffix('/'))
        .unwrap_or(parents);
    let is_pods = top == "kubepods" || top.ends_with("/kubepods");
    is_pods.then(|| PodUid::parse(uid).ok())?
}

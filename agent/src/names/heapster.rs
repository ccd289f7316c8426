//! The names that Heapster's users know for parts of a Kubernetes node.
//!
//! The kubelet reports some cgroups as system containers, and Heapster gave them names that do not say
//! which cgroup it is: `kubelet`; `docker-daemon`, whatever the runtime is; `system`, all services; and
//! `pods`, all pods. They are said besides the cgroup's own name, for the same numbers, and only on a
//! node that has a cgroup for pods. A name that could be of either of two cgroups is nobody's.

/// The services that run containers. dockerd has a containerd of its own or of the host's below it.
const RUNTIMES: [&str; 3] = ["crio.service", "containerd.service", "docker.service"];

/// Who speaks CRI for dockerd: where it is there, pods are dockerd's.
const CRI_DOCKERD: &str = "cri-docker.service";

/// A name, and the cgroup that has it too.
pub type Part<'a> = (&'static str, &'a str);

/// The parts that can be told among the cgroups of a host that no pod owns.
pub fn parts<'a>(groups: impl Iterator<Item = &'a str>) -> Vec<Part<'a>> {
    let groups: Vec<&str> = groups.collect();
    let top = |name: &str| groups.iter().copied().find(|path| last(path) == name);
    let Some(pods) = groups.iter().copied().find(|path| is_of_all_pods(path)) else {
        return Vec::new();
    };
    let runtimes: Vec<&str> = RUNTIMES.into_iter().filter_map(top).collect();
    let runtime = match runtimes[..] {
        [only] => Some(only),
        _ => top(CRI_DOCKERD).and_then(|_| top("docker.service")),
    };
    let system = groups.iter().copied().find(|path| *path == "/system.slice");
    [
        ("kubelet", top("kubelet.service")),
        ("docker-daemon", runtime),
        ("system", system),
        ("pods", Some(pods)),
    ]
    .into_iter()
    .filter_map(|(name, path)| Some((name, path?)))
    .collect()
}

/// The kubelet makes one cgroup for all pods, directly below its `--cgroup-root`.
fn is_of_all_pods(path: &str) -> bool {
    let name = last(path);
    name == "kubepods" || name == "kubepods.slice" || name.ends_with("-kubepods.slice")
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(groups: &[&str], expected: &[Part<'_>]) {
        assert_eq!(parts(groups.iter().copied()), expected);
    }

    #[test]
    fn a_node_of_kubernetes_has_its_parts() {
        let containerd = "/system.slice/containerd.service";
        check(
            &[
                "/kubepods.slice",
                "/kubepods.slice/kubepods-burstable.slice",
                "/system.slice",
                containerd,
                "/system.slice/kubelet.service",
                "/user.slice",
            ],
            &[
                ("kubelet", "/system.slice/kubelet.service"),
                ("docker-daemon", containerd),
                ("system", "/system.slice"),
                ("pods", "/kubepods.slice"),
            ],
        );
        check(&["/kubepods", "/kubepods/burstable"], &[("pods", "/kubepods")]);
        check(&["/k8s/kubepods"], &[("pods", "/k8s/kubepods")]);
        check(&["/k8s.slice/k8s-kubepods.slice"], &[("pods", "/k8s.slice/k8s-kubepods.slice")]);
        check(&["/runtime.slice/kubelet.service"], &[]);
    }

    #[test]
    fn a_host_without_pods_has_none() {
        check(&["/system.slice", "/system.slice/docker.service"], &[]);
    }

    #[test]
    fn the_runtime_is_the_only_one_or_that_of_cri_dockerd() {
        let runtime = |services: &[&'static str]| {
            let groups = ["/kubepods"].iter().chain(services);
            let found = parts(groups.copied());
            found.into_iter().find(|(name, _)| *name == "docker-daemon").map(|(_, path)| path)
        };
        assert_eq!(runtime(&["/s/crio.service"]), Some("/s/crio.service"));
        assert_eq!(runtime(&["/s/docker.service"]), Some("/s/docker.service"));
        assert_eq!(runtime(&["/s/containerd.service", "/s/docker.service"]), None);
        assert_eq!(
            runtime(&["/s/containerd.service", "/s/cri-docker.service", "/s/docker.service"]),
            Some("/s/docker.service")
        );
        assert_eq!(runtime(&[]), None);
    }
}

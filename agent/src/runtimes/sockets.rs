//! Where the runtimes' sockets are.
//!
//! An agent in a container sees them below the host's root, or has one mounted at its own usual place.
//! `/var/run` is a link that leads out of the host's root, so only what it leads to is looked at.

use std::path::{Path, PathBuf};

use crate::names::Api;

/// The usual places of those who speak CRI: containerd, CRI-O, k3s, k0s, MicroK8s, Docker by cri-dockerd
/// and by the kubelet of old.
const CRI: [&str; 7] = [
    "run/containerd/containerd.sock",
    "run/crio/crio.sock",
    "run/k3s/containerd/containerd.sock",
    "run/k0s/containerd.sock",
    "var/snap/microk8s/common/run/containerd.sock",
    "run/cri-dockerd.sock",
    "run/dockershim.sock",
];

/// The usual places of Docker and podman.
const DOCKER: [&str; 2] = ["run/docker.sock", "run/podman/podman.sock"];

/// Users' own, below their folder of `run/user`.
const OF_USERS: [&str; 2] = ["docker.sock", "podman/podman.sock"];

/// Users whose sockets are looked for.
const USERS_MAX: usize = 100;

/// Where to look for sockets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Places {
    /// In the usual places.
    Usual,
    /// Here; nowhere when there are none.
    At(Vec<PathBuf>),
}

impl Places {
    /// The sockets that are there now.
    pub fn find(&self, api: Api, host_root: &Path) -> Vec<PathBuf> {
        match self {
            Self::At(paths) => paths.iter().filter(|path| path.exists()).cloned().collect(),
            Self::Usual => {
                let mut found = usual(api, host_root);
                if host_root != Path::new("/") {
                    found.extend(usual(api, Path::new("/")));
                }
                found
            }
        }
    }
}

fn usual(api: Api, root: &Path) -> Vec<PathBuf> {
    let fixed: &[&str] = match api {
        Api::Cri => &CRI,
        Api::Docker => &DOCKER,
    };
    let mut places: Vec<PathBuf> = fixed.iter().map(|place| root.join(place)).collect();
    if api == Api::Docker
        && let Ok(users) = std::fs::read_dir(root.join("run/user"))
    {
        let folders = users.filter_map(|user| Some(user.ok()?.path())).take(USERS_MAX);
        places.extend(folders.flat_map(|folder| OF_USERS.map(|place| folder.join(place))));
    }
    places.retain(|place| place.exists());
    places
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[track_caller]
    fn check(places: &Places, api: Api, there: &[&str], found: &[&str]) {
        let root = tempfile::tempdir().unwrap();
        for place in there {
            let path = root.path().join(place);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        let expected: Vec<PathBuf> = found.iter().map(|place| root.path().join(place)).collect();
        let found = places.find(api, root.path());
        let below: Vec<PathBuf> =
            found.into_iter().filter(|path| path.starts_with(root.path())).collect();
        assert_eq!(below, expected);
    }

    #[test]
    fn sockets_are_found_below_the_hosts_root() {
        let there = ["run/crio/crio.sock", "run/docker.sock", "run/user/1000/podman/podman.sock"];
        check(&Places::Usual, Api::Cri, &there, &there[..1]);
        check(&Places::Usual, Api::Docker, &there, &there[1..]);
        check(&Places::Usual, Api::Docker, &[], &[]);
    }

    #[test]
    fn named_sockets_are_the_only_ones() {
        let root = tempfile::tempdir().unwrap();
        let [here, gone] = ["a.sock", "b.sock"].map(|name| root.path().join(name));
        fs::write(&here, "").unwrap();
        let places = Places::At(vec![gone, here.clone()]);
        assert_eq!(places.find(Api::Cri, Path::new("/")), [here]);
        assert!(Places::At(Vec::new()).find(Api::Docker, Path::new("/")).is_empty());
    }
}

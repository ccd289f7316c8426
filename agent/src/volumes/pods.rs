//! Which volumes and logs the pods of a kubelet have, and how the size of each is told.
//!
//! ```text
//! KUBELET/pods/UID/volumes/PLUGIN/NAME        a volume; of CSI it is mounted at NAME/mount
//! LOGS/NAMESPACE_NAME_UID/CONTAINER/          logs of a container
//! ```
//! A volume that is mounted there is a filesystem, which is asked. What the kubelet makes on its own disk
//! is a directory, which is walked. Nothing that is mounted is touched here: a dead server's volume hangs
//! whoever looks at it, so only directories above are listed.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
};

use tally_proto::name::{ContainerName, PodUid};

use crate::parse::{
    device::DeviceNumber,
    line::BadLine,
    mountinfo::{self, Mount},
};

/// Pods that are looked at: kubelets have some hundred at most.
pub(super) const PODS_MAX: usize = 1000;

/// Volumes, and folders of logs, of one pod.
pub(super) const PARTS_PER_POD_MAX: usize = 64;

/// Plugins whose volumes are directories of the kubelet, and whether it counts them as ephemeral storage
/// when nothing is mounted there. What the API server fills is in memory, but for config maps.
const DIRECTORIES: [(&str, bool, Rank); 6] = [
    ("empty-dir", true, Rank::Data),
    ("git-repo", true, Rank::Data),
    ("configmap", true, Rank::Filled),
    ("secret", false, Rank::Filled),
    ("projected", false, Rank::Filled),
    ("downward-api", false, Rank::Filled),
];

/// Which volumes come first where there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// Pods write in them.
    Data,
    /// The API server fills them.
    Filled,
}

/// How the size of a volume is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// By a walk through it.
    Walk,
    /// By asking the filesystem that is mounted there. btrfs gives its parts other device numbers
    /// than the list of mounts has, so there it is not known which must be found.
    Ask(Option<DeviceNumber>),
}

/// A volume that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundVolume {
    pub(super) rank: Rank,
    /// `Volume:` and its name.
    pub(super) resource: Box<str>,
    /// Where it is, as this process sees it.
    pub(super) path: String,
    pub(super) how: How,
    pub(super) is_ephemeral: bool,
}

/// What one pod has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FoundPod {
    /// `None` without a folder of the kubelet.
    pub(super) volumes: Option<Vec<FoundVolume>>,
    /// Folders of logs.
    pub(super) logs: Vec<(ContainerName, String)>,
}

/// All pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) pods: BTreeMap<PodUid, FoundPod>,
    /// What was over a limit.
    pub(super) left_out: u64,
}

/// What is mounted below the kubelet's directory, by path as this process sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Mounts(BTreeMap<String, How>);

impl Mounts {
    /// Adds those below `directory` of a list in which the host's root is `host_root` less. The last
    /// at a point covers the others.
    pub(super) fn add(
        &mut self,
        text: &[u8],
        host_root: &str,
        directory: &str,
    ) -> Result<(), BadLine> {
        mountinfo::each(text, |mount| {
            let point = mountinfo::path(mount.point);
            let point = point.to_str().map(|point| format!("{host_root}{point}"));
            if let Some(point) = point.filter(|point| point.starts_with(directory)) {
                self.0.insert(point, ask(&mount));
            }
        })
    }

    /// Everything that is mounted below a path.
    pub(super) fn below(&self, path: &str) -> Vec<String> {
        let first = format!("{path}/");
        let after = self.0.range(first.clone()..).map(|(point, _)| point);
        after.take_while(|point| point.starts_with(&first)).cloned().collect()
    }
}

fn ask(mount: &Mount<'_>) -> How {
    How::Ask((mount.kind != b"btrfs").then_some(mount.device))
}

impl Found {
    /// Looks for pods below the kubelet's directory and that of logs, both as this process sees them.
    pub(super) fn look(kubelet: &Path, logs: &Path, mounts: &Mounts) -> Self {
        let mut found = Self::default();
        for (uid, path) in found.listed(&kubelet.join("pods"), PODS_MAX) {
            let Ok(uid) = PodUid::parse(&uid) else { continue };
            let volumes = found.volumes(&path.join("volumes"), mounts);
            found.pods.entry(uid).or_default().volumes = Some(volumes);
        }
        for (folder, path) in found.listed(logs, PODS_MAX) {
            // Neither a namespace nor a pod's name has an underscore.
            let Some((_, uid)) = folder.rsplit_once('_') else { continue };
            let Ok(uid) = PodUid::parse(uid) else { continue };
            let containers = found.listed(&path, PARTS_PER_POD_MAX).into_iter();
            let logs = containers.filter_map(|(name, path)| {
                Some((ContainerName::parse(&name).ok()?, path.to_str()?.to_owned()))
            });
            found.pods.entry(uid).or_default().logs = logs.collect();
        }
        found
    }

    fn volumes(&mut self, path: &Path, mounts: &Mounts) -> Vec<FoundVolume> {
        let mut volumes = Vec::new();
        for (plugin, path) in self.listed(path, PARTS_PER_POD_MAX) {
            for (name, path) in self.listed(&path, PARTS_PER_POD_MAX) {
                volumes.extend(path.to_str().and_then(|path| volume(&plugin, &name, path, mounts)));
            }
        }
        volumes.sort_by(|one, other| (one.rank, &one.resource).cmp(&(other.rank, &other.resource)));
        self.left_out += more_than(&volumes, PARTS_PER_POD_MAX);
        volumes.truncate(PARTS_PER_POD_MAX);
        volumes
    }

    /// What is in a directory, sorted; nothing where there is none.
    fn listed(&mut self, path: &Path, most: usize) -> Vec<(String, PathBuf)> {
        let names = |entry: io::Result<std::fs::DirEntry>| {
            let entry = entry.ok()?;
            let name = entry.file_name().into_string().ok()?;
            (!name.contains(char::is_control)).then(|| (name, entry.path()))
        };
        let Ok(entries) = std::fs::read_dir(path) else { return Vec::new() };
        let mut listed: Vec<_> = entries.take(most + 1).filter_map(names).collect();
        self.left_out += more_than(&listed, most);
        listed.truncate(most);
        listed.sort();
        listed
    }
}

fn more_than<T>(list: &[T], most: usize) -> u64 {
    u64::from(most < list.len())
}

/// What the volume at `path` is; `None` when it tells nothing.
fn volume(plugin: &str, name: &str, path: &str, mounts: &Mounts) -> Option<FoundVolume> {
    let (_, plugin) = plugin.split_once('~').unwrap_or(("", plugin));
    let kind = DIRECTORIES.iter().find(|(known, ..)| *known == plugin);
    let path = match plugin {
        "csi" => format!("{path}/mount"),
        _ => path.to_owned(),
    };
    let (how, is_ephemeral) = match (mounts.0.get(&path), kind) {
        (Some(how), _) => (how.clone(), false),
        (None, Some((_, is_ephemeral, _))) => (How::Walk, *is_ephemeral),
        // Not mounted yet, or where this process does not see it.
        (None, None) => return None,
    };
    let rank = kind.map_or(Rank::Data, |(_, _, rank)| *rank);
    Some(FoundVolume { rank, resource: format!("Volume:{name}").into(), path, how, is_ephemeral })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const UID: &str = "11111111-2222-3333-4444-555555555501";

    /// A kubelet's directories, and what is said to be mounted.
    struct Node {
        root: tempfile::TempDir,
        mountinfo: String,
    }

    impl Node {
        fn new() -> Self {
            Self { root: tempfile::tempdir().unwrap(), mountinfo: String::new() }
        }

        fn make(&self, path: &str) {
            fs::create_dir_all(self.root.path().join(path)).unwrap();
        }

        fn mount(&mut self, below: &str, device: &str, kind: &str) {
            let line =
                format!("1 0 {device} / /kubelet/pods/{UID}/volumes/{below} rw - {kind} x rw\n");
            self.mountinfo.push_str(&line);
        }

        fn look(&self) -> Found {
            let root = self.root.path();
            let mut mounts = Mounts::default();
            let (host_root, directory) = (root.to_str().unwrap(), root.join("kubelet/pods"));
            let directory = directory.to_str().unwrap();
            mounts.add(self.mountinfo.as_bytes(), host_root, directory).unwrap();
            Found::look(&root.join("kubelet"), &root.join("logs"), &mounts)
        }

        /// Volumes in their order: name, how, whether ephemeral.
        fn volumes(&self) -> Vec<(String, How, bool)> {
            let found = self.look();
            let [pod] = &found.pods.into_values().collect::<Vec<_>>()[..] else {
                panic!("one pod")
            };
            let root = format!("{}/kubelet/pods/{UID}/volumes/", self.root.path().display());
            let all = pod.volumes.iter().flatten().map(|volume| {
                assert!(volume.path.starts_with(&root), "{}", volume.path);
                (volume.resource.to_string(), volume.how.clone(), volume.is_ephemeral)
            });
            all.collect()
        }
    }

    fn on(major: u32, minor: u32) -> How {
        How::Ask(Some(DeviceNumber { major, minor }))
    }

    #[test]
    fn directories_are_walked_and_filesystems_asked() {
        let mut node = Node::new();
        for volume in [
            "kubernetes.io~projected/kube-api-access-x",
            "kubernetes.io~empty-dir/scratch",
            "kubernetes.io~empty-dir/memory",
            "kubernetes.io~configmap/config",
            "kubernetes.io~csi/pvc-1/mount",
            "kubernetes.io~csi/not-mounted-yet/mount",
            "kubernetes.io~nfs/share",
            "kubernetes.io~local-volume/disk",
        ] {
            node.make(&format!("kubelet/pods/{UID}/volumes/{volume}"));
        }
        node.mount("kubernetes.io~projected/kube-api-access-x", "0:50", "tmpfs");
        node.mount("kubernetes.io~empty-dir/memory", "0:51", "tmpfs");
        node.mount("kubernetes.io~csi/pvc-1/mount", "254:2", "ext4");
        node.mount("kubernetes.io~nfs/share", "0:60", "nfs4");
        node.mount("kubernetes.io~local-volume/disk", "0:70", "btrfs");
        let named = |name: &str, how, is_ephemeral| (format!("Volume:{name}"), how, is_ephemeral);
        let expected = [
            named("disk", How::Ask(None), false),
            named("memory", on(0, 51), false),
            named("pvc-1", on(254, 2), false),
            named("scratch", How::Walk, true),
            named("share", on(0, 60), false),
            named("config", How::Walk, true),
            named("kube-api-access-x", on(0, 50), false),
        ];
        assert_eq!(node.volumes(), expected);
    }

    #[test]
    fn the_last_mount_at_a_point_covers_the_others() {
        let mut node = Node::new();
        node.make(&format!("kubelet/pods/{UID}/volumes/kubernetes.io~nfs/share"));
        node.mount("kubernetes.io~nfs/share", "0:60", "nfs4");
        node.mount("kubernetes.io~nfs/share", "0:61", "nfs4");
        assert_eq!(node.volumes(), [("Volume:share".to_owned(), on(0, 61), false)]);
    }

    #[test]
    fn logs_belong_to_the_pod_in_the_folders_name() {
        let node = Node::new();
        node.make(&format!("logs/default_web_{UID}/srv"));
        node.make(&format!("logs/default_web_{UID}/cli"));
        node.make("logs/no-uid/srv");
        let found = node.look();
        let [(uid, pod)] = &found.pods.iter().collect::<Vec<_>>()[..] else { panic!("one pod") };
        assert_eq!((uid.to_string().as_str(), &pod.volumes), (UID, &None));
        let names: Vec<String> = pod.logs.iter().map(|(name, _)| name.to_string()).collect();
        assert_eq!(names, ["cli", "srv"]);
        assert!(pod.logs[0].1.ends_with("/cli"));
    }

    #[test]
    fn mounts_below_a_volume_are_known() {
        let text = b"1 0 0:1 / /k/v rw - tmpfs t rw\n2 0 0:2 / /k/v/a rw - nfs n rw\n\
            3 0 0:3 / /k/v/a/b rw - nfs n rw\n4 0 0:4 / /k/va rw - nfs n rw\n";
        let mut mounts = Mounts::default();
        mounts.add(text, "/host", "/host/k").unwrap();
        assert_eq!(mounts.below("/host/k/v"), ["/host/k/v/a", "/host/k/v/a/b"]);
        assert!(mounts.below("/host/k/other").is_empty());
    }

    #[test]
    fn what_the_host_has_mounted_counts_before_what_is_seen() {
        let mut mounts = Mounts::default();
        mounts
            .add(
                b"1 0 0:1 / /host/k/v rw - tmpfs t rw\n2 0 0:2 / /other rw - nfs n rw\n",
                "",
                "/host/k",
            )
            .unwrap();
        mounts.add(b"1 0 0:9 / /k/w rw - nfs n rw\n", "/host", "/host/k").unwrap();
        assert_eq!(mounts.0.keys().collect::<Vec<_>>(), ["/host/k/v", "/host/k/w"]);
        mounts.add(b"1 0 0:8 / /k/v rw - nfs n rw\n", "/host", "/host/k").unwrap();
        assert_eq!(mounts.0["/host/k/v"], on(0, 8));
    }

    #[test]
    fn a_node_without_pods_has_none() {
        assert_eq!(Node::new().look(), Found::default());
    }

    #[test]
    fn limits_are_kept_and_counted() {
        let node = Node::new();
        for number in 0..=PARTS_PER_POD_MAX {
            node.make(&format!("kubelet/pods/{UID}/volumes/kubernetes.io~empty-dir/v{number}"));
            node.make(&format!("logs/default_web_{UID}/c{number}"));
        }
        node.make(&format!("kubelet/pods/{UID}/volumes/kubernetes.io~configmap/c"));
        let found = node.look();
        assert_eq!(found.left_out, 3, "names of a plugin, volumes of a pod, logs of a pod");
        let pod = found.pods.values().next().unwrap();
        let volumes = pod.volumes.as_ref().unwrap();
        assert_eq!((volumes.len(), pod.logs.len()), (PARTS_PER_POD_MAX, PARTS_PER_POD_MAX));
        assert!(volumes.iter().all(|volume| volume.rank == Rank::Data));
    }
}

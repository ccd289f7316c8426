//! Space and inodes of the node's filesystems, by mount point.
//!
//! Only local filesystems that hold data are asked: a dead NFS server makes `statfs` hang forever,
//! so neither network filesystems nor anything mounted below one is touched. A filesystem that
//! is mounted in many places counts once: where the whole of it is rather than where a part of it is
//! bound, and of these at the shortest mount point. `/` always counts. A tmpfs can be full as well as
//! a disk, but the many that runtimes and the kubelet mount belong to containers.
//! A mount point must lead to the filesystem that mountinfo names there; if it does not, something
//! covers it or this process does not see it.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rustix::fs::{FileType, StatVfs, stat, statvfs};
use tally_proto::catalogue::{self as metric, MetricId};

use crate::{
    columns::{Columns, ResourceNumber},
    host::{
        descriptors::Pace,
        files::{Files, HeldFile, Location},
    },
    parse::{
        device::DeviceNumber,
        mountinfo::{self, Mount},
    },
};

/// Filesystems that hold data on this host's own disks.
const LOCAL_KINDS: [&[u8]; 13] = [
    b"ext2",
    b"ext3",
    b"ext4",
    b"xfs",
    b"btrfs",
    b"zfs",
    b"f2fs",
    b"bcachefs",
    b"jfs",
    b"reiserfs",
    b"vfat",
    b"exfat",
    b"ntfs3",
];

/// Filesystems behind which somebody else may be silent.
const REMOTE_KINDS: [&[u8]; 10] =
    [b"nfs", b"nfs4", b"cifs", b"smb3", b"ceph", b"9p", b"autofs", b"afs", b"lustre", b"glusterfs"];

/// Parts of the tree in which a tmpfs is the system's own or a container's: the same that df's users
/// leave out.
const NO_TMPFS_IN: [&str; 11] = [
    "/dev/pts",
    "/proc",
    "/sys",
    "/run/containerd",
    "/run/containers",
    "/run/credentials",
    "/run/docker",
    "/run/netns",
    "/run/user",
    "/var/lib",
    "/var/run",
];

/// Turns between two looks at the list of mounts: it is long on nodes with many pods.
const TURNS_A_LIST: u32 = 4;

/// Filesystems that are kept.
const FILESYSTEMS_MAX: usize = 128;

/// The filesystems of a node.
#[derive(Debug)]
pub(super) struct Filesystems {
    host_root: Box<str>,
    /// Where the host's /proc is.
    proc: Box<str>,
    /// A process in it that sees the host's mounts.
    process: &'static str,
    /// Where the kubelet keeps what counts as ephemeral storage.
    kubelet_dir: Box<str>,
    mountinfo: HeldFile,
    /// Hash of the list of mounts that was last taken apart.
    known: Option<u64>,
    turn: u32,
    mounts: Vec<Filesystem>,
    /// The device that holds what counts as ephemeral storage.
    ephemeral: Option<DeviceNumber>,
}

#[derive(Debug)]
struct Filesystem {
    device: DeviceNumber,
    /// As this process sees it.
    path: String,
    resource: Option<ResourceNumber>,
    space: Option<Space>,
}

#[derive(Clone, Copy, Debug)]
struct Space {
    limit_bytes: u64,
    used_bytes: u64,
    available_bytes: u64,
    inodes: u64,
    inodes_free: u64,
}

impl Filesystems {
    /// Of the host whose root is seen at `host_root`.
    pub(super) fn new(host_root: &str, process: &'static str, kubelet_dir: &str) -> Self {
        Self {
            process,
            kubelet_dir: kubelet_dir.into(),
            host_root: host_root.into(),
            proc: format!("{host_root}/proc").into(),
            mountinfo: HeldFile::default(),
            known: None,
            turn: 0,
            mounts: Vec::new(),
            ephemeral: None,
        }
    }

    /// Asks each filesystem.
    pub(super) fn read(&mut self, files: &mut Files, columns: &mut Columns) {
        if self.turn == 0 {
            self.list(files, columns);
        }
        self.turn = (self.turn + 1) % TURNS_A_LIST;
        for filesystem in &mut self.mounts {
            filesystem.space = space(&filesystem.path);
        }
    }

    fn list(&mut self, files: &mut Files, columns: &mut Columns) {
        let at = Location { mount: &self.proc, directory: self.process, name: "mountinfo" };
        let (known, kubelet_dir) = (&mut self.known, &self.kubelet_dir);
        let found = files.read(&mut self.mountinfo, Pace::Slow, at, |text| {
            let mut hasher = DefaultHasher::new();
            text.hash(&mut hasher);
            if known.replace(hasher.finish()) == Some(hasher.finish()) {
                return Ok(None);
            }
            let mut mounts = Vec::new();
            mountinfo::each(text, |mount| mounts.push(Candidate::new(&mount)))?;
            let ephemeral = holding(&mounts, kubelet_dir);
            Ok(Some((ephemeral, choose(mounts))))
        });
        // Unreadable, or the same as before.
        let Ok(Some(Some((ephemeral, chosen)))) = found else { return };
        self.ephemeral = ephemeral;
        self.mounts = chosen
            .into_iter()
            .map(|(device, point)| Filesystem {
                device,
                path: format!("{}{point}", self.host_root),
                resource: columns.resource(&point),
                space: None,
            })
            .filter(Filesystem::is_seen)
            .take(FILESYSTEMS_MAX)
            .collect();
    }

    /// Calls `put` with each metric; usage of the one that holds pods' data is also the node's
    /// ephemeral storage, which has no label.
    pub(super) fn each(&self, mut put: impl FnMut(MetricId, Option<ResourceNumber>, u64)) {
        for filesystem in &self.mounts {
            let (Some(space), Some(_)) = (filesystem.space, filesystem.resource) else { continue };
            put(metric::FILESYSTEM_USAGE, filesystem.resource, space.used_bytes);
            put(metric::FILESYSTEM_LIMIT, filesystem.resource, space.limit_bytes);
            put(metric::FILESYSTEM_AVAILABLE, filesystem.resource, space.available_bytes);
            put(metric::FILESYSTEM_INODES, filesystem.resource, space.inodes);
            put(metric::FILESYSTEM_INODES_FREE, filesystem.resource, space.inodes_free);
        }
        let is_it = |mount: &&Filesystem| Some(mount.device) == self.ephemeral;
        if let Some(space) = self.mounts.iter().find(is_it).and_then(|found| found.space) {
            put(metric::EPHEMERAL_STORAGE_USAGE, None, space.used_bytes);
        }
    }
}

impl Filesystem {
    /// btrfs gives each subvolume a device of its own, so there the numbers tell nothing; it has
    /// major 0 then, as no disk has.
    fn is_seen(&self) -> bool {
        let Ok(stat) = stat(self.path.as_str()) else { return false };
        // In a container files such as /etc/hosts are mounts of the host's disk.
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            return false;
        }
        let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
        self.device == DeviceNumber { major, minor } || self.device.major == 0 && major == 0
    }
}

fn space(path: &str) -> Option<Space> {
    let StatVfs { f_frsize, f_blocks, f_bfree, f_bavail, f_files, f_ffree, .. } =
        statvfs(path).ok()?;
    let bytes = |blocks: u64| blocks.saturating_mul(f_frsize);
    Some(Space {
        limit_bytes: bytes(f_blocks),
        used_bytes: bytes(f_blocks.saturating_sub(f_bfree)),
        available_bytes: bytes(f_bavail),
        inodes: f_files,
        inodes_free: f_ffree,
    })
}

/// What is needed of a mount to choose.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Candidate {
    device: DeviceNumber,
    point: String,
    /// Not a part of it that is bound here.
    is_whole: bool,
    is_local: bool,
    is_remote: bool,
}

impl Candidate {
    fn new(mount: &Mount<'_>) -> Self {
        let point = mountinfo::path(mount.point).to_string_lossy().into_owned();
        let is_own = point != "/dev"
            && NO_TMPFS_IN.iter().all(|directory| !is_at_or_below(&point, directory));
        Self {
            device: mount.device,
            is_whole: mount.root == b"/",
            is_local: LOCAL_KINDS.contains(&mount.kind) || mount.kind == b"tmpfs" && is_own,
            point,
            is_remote: REMOTE_KINDS.contains(&mount.kind) || mount.kind.starts_with(b"fuse"),
        }
    }
}

/// Each local filesystem once, and `/`.
fn choose(mut mounts: Vec<Candidate>) -> Vec<(DeviceNumber, String)> {
    // A node whose root is remote hangs with its server whatever the agent does.
    let remote = mounts.iter().filter(|mount| mount.is_remote && mount.point != "/");
    let remote: Vec<String> = remote.map(|mount| mount.point.clone()).collect();
    // The last mount at a point covers the others.
    mounts.reverse();
    // A root is often a part: a subvolume.
    mounts.sort_by_key(|mount| {
        (mount.point != "/", &*mount.point != "/" && !mount.is_whole, mount.point.len())
    });
    let mut chosen: Vec<(DeviceNumber, String)> = Vec::new();
    for mount in mounts {
        let is_root = mount.point == "/" && !chosen.iter().any(|(_, point)| point == "/");
        let is_wanted = is_root || mount.is_local;
        let is_behind_remote = remote.iter().any(|remote| is_at_or_below(&mount.point, remote));
        let is_known = chosen.iter().any(|(device, _)| *device == mount.device);
        if is_wanted && !is_behind_remote && !is_known {
            chosen.push((mount.device, mount.point));
        }
    }
    chosen
}

/// The device of the mount with the longest point above a directory, the last of equal ones. It may
/// be a part that is bound there, of a filesystem that counts elsewhere.
fn holding(mounts: &[Candidate], directory: &str) -> Option<DeviceNumber> {
    let above = mounts.iter().filter(|mount| is_at_or_below(directory, &mount.point));
    above.max_by_key(|mount| mount.point.len()).map(|mount| mount.device)
}

fn is_at_or_below(path: &str, directory: &str) -> bool {
    let rest = path.strip_prefix(directory.trim_end_matches('/'));
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(lines: &[&str]) -> Vec<String> {
        let text = lines.join("\n");
        let mut mounts = Vec::new();
        mountinfo::each(text.as_bytes(), |mount| mounts.push(Candidate::new(&mount))).unwrap();
        choose(mounts).into_iter().map(|(_, point)| point).collect()
    }

    #[test]
    fn a_filesystem_counts_once_at_its_shortest_point() {
        let lines = [
            "1 0 254:0 /var /run/netns rw - ext4 /dev/vda rw",
            "2 0 254:0 / / rw - ext4 /dev/vda rw",
            "3 0 254:1 / /mnt/disk rw - xfs /dev/vdb rw",
            "4 0 254:1 /pv /var/lib/kubelet/pods/1/volumes/x rw - xfs /dev/vdb rw",
        ];
        assert_eq!(chosen(&lines), ["/", "/mnt/disk"]);
    }

    #[test]
    fn the_whole_of_a_filesystem_counts_before_a_part_that_is_bound_elsewhere() {
        let lines = [
            "1 0 254:1 /x /x rw - ext4 /dev/vdb rw",
            "2 0 254:1 / /mnt/disk rw - ext4 /dev/vdb rw",
            "3 0 254:1 / /mnt/again rw - ext4 /dev/vdb rw",
            "4 0 254:2 /only/a/part /y rw - ext4 /dev/vdc rw",
        ];
        assert_eq!(chosen(&lines), ["/mnt/disk", "/y"]);
    }

    #[test]
    fn the_kernels_own_filesystems_hold_no_data() {
        let lines = ["1 0 0:21 / /proc rw - proc proc rw", "2 0 0:22 / /sys rw - sysfs sys rw"];
        assert!(chosen(&lines).is_empty());
    }

    #[test]
    fn a_tmpfs_counts_unless_it_is_a_containers_or_the_systems() {
        let lines = [
            "1 0 0:25 / /run rw - tmpfs run rw",
            "2 0 0:26 / /dev/shm rw - tmpfs shm rw",
            "3 0 0:27 / /sys/fs/cgroup rw - tmpfs cg rw",
            "4 0 0:28 / /run/user/1000 rw - tmpfs u rw",
            "5 0 0:29 / /var/lib/kubelet/pods/1/volumes/kubernetes.io~secret/x rw - tmpfs t rw",
            "6 0 0:30 / /run/containerd/io.containerd.grpc.v1.cri/sandboxes/a/shm rw - tmpfs s rw",
            "9 0 0:32 / /dev rw - tmpfs dev rw",
            "7 0 0:31 / /tmp rw - tmpfs t rw",
            "8 0 254:1 / /var/lib/docker rw - ext4 /dev/vdb rw",
        ];
        assert_eq!(chosen(&lines), ["/tmp", "/run", "/dev/shm", "/var/lib/docker"]);
    }

    #[test]
    fn the_last_root_counts_though_it_is_a_part() {
        let lines = [
            "1 0 0:2 / / rw - rootfs rootfs rw",
            "2 0 0:30 /@ / rw - btrfs /dev/vda rw",
            "3 0 0:30 /@home /home rw - btrfs /dev/vda rw",
        ];
        let mut mounts = Vec::new();
        let text = lines.join("\n");
        mountinfo::each(text.as_bytes(), |mount| mounts.push(Candidate::new(&mount))).unwrap();
        let device = DeviceNumber { major: 0, minor: 30 };
        assert_eq!(choose(mounts), [(device, "/".to_owned())]);
    }

    #[test]
    fn ephemeral_storage_is_on_the_disk_that_is_bound_there() {
        let root = "1 0 254:0 / / rw - ext4 /dev/vda rw\n";
        let disk = "2 0 254:1 / /mnt/disk rw - ext4 /dev/vdb rw\n";
        let bound = "3 0 254:1 /kubelet /var/lib/kubelet rw - ext4 /dev/vdb rw\n";
        for (text, minor) in [(root.to_owned() + disk, 0), (root.to_owned() + disk + bound, 1)] {
            let mut mounts = Vec::new();
            mountinfo::each(text.as_bytes(), |mount| mounts.push(Candidate::new(&mount))).unwrap();
            let device = DeviceNumber { major: 254, minor };
            assert_eq!(holding(&mounts, "/var/lib/kubelet"), Some(device));
        }
    }

    #[test]
    fn the_root_counts_whatever_it_is() {
        assert_eq!(chosen(&["1 0 0:40 / / rw - overlay overlay rw"]), ["/"]);
    }

    #[test]
    fn nothing_behind_a_network_filesystem_is_touched() {
        let lines = [
            "1 0 254:0 / / rw - ext4 /dev/vda rw",
            "2 0 0:50 / /net rw - nfs4 server:/ rw",
            "3 0 254:1 / /net/disk rw - ext4 /dev/vdb rw",
            "4 0 254:2 / /network rw - ext4 /dev/vdc rw",
        ];
        assert_eq!(chosen(&lines), ["/", "/network"]);
    }
}

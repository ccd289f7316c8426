//! Where the cgroup hierarchies of a host are mounted, told from its mountinfo.
//!
//! v2 has one tree for everything. v1 has one for each controller, or one for several joined. A
//! hybrid has both: v1 for the controllers, and a v2 tree that adds only pressure.

use std::{fmt, path::Path};

use crate::parse::{
    line::BadLine,
    mountinfo::{self, Mount},
};

/// How a host lays its cgroups out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CgroupLayout {
    /// A tree for each controller.
    V1,
    /// One tree.
    V2,
    /// v1's controllers, and a v2 tree beside them.
    Hybrid,
}

impl fmt::Display for CgroupLayout {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::V1 => "v1",
            Self::V2 => "v2",
            Self::Hybrid => "hybrid",
        })
    }
}

/// Mount points of v1's controllers, as paths that this process can open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountsV1 {
    /// memory
    pub memory: Option<Box<str>>,
    /// cpu
    pub cpu: Option<Box<str>>,
    /// cpuacct
    pub cpuacct: Option<Box<str>>,
    /// blkio
    pub blkio: Option<Box<str>>,
    /// pids
    pub pids: Option<Box<str>>,
    /// The v2 tree of a hybrid.
    pub unified: Option<Box<str>>,
}

/// The hierarchies of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hierarchies {
    /// v1, or a hybrid.
    V1(MountsV1),
    /// v2: where it is mounted.
    V2(Box<str>),
}

/// A host without cgroups that we could read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoHierarchies {
    /// The kernel's list of mounts is broken.
    #[error("{0}")]
    BadLine(#[from] BadLine),
    /// Nothing is mounted.
    #[error("no cgroup hierarchy is mounted: mount one (cgroup2 on /sys/fs/cgroup)")]
    Nothing,
}

impl Hierarchies {
    /// Finds them in the text of the host's mountinfo. `host_root` is where the host's own root
    /// is seen by this process.
    pub fn find(mountinfo: &[u8], host_root: &Path) -> Result<Self, NoHierarchies> {
        let mut v1 = MountsV1::default();
        // A container's part of a hierarchy may stand in the list before the whole of it: the list is
        // in the order of numbers, which are given again.
        for is_whole in [true, false] {
            mountinfo::each(mountinfo, |mount| {
                if (mount.root == b"/") == is_whole
                    && let Some(point) = seen_at(host_root, mount.point)
                {
                    v1.keep(&mount, &point);
                }
            })?;
        }
        if v1.controllers().next().is_some() {
            return Ok(Self::V1(v1));
        }
        v1.unified.map(Self::V2).ok_or(NoHierarchies::Nothing)
    }

    /// How they are laid out.
    pub fn layout(&self) -> CgroupLayout {
        match self {
            Self::V2(_) => CgroupLayout::V2,
            Self::V1(mounts) if mounts.unified.is_some() => CgroupLayout::Hybrid,
            Self::V1(_) => CgroupLayout::V1,
        }
    }

    /// The trees that list processes, the most telling first: pids counts them too.
    pub fn process_trees(&self) -> Vec<Box<str>> {
        let mut trees = self.trees();
        if let Self::V1(MountsV1 { pids: Some(pids), .. }) = self {
            trees.retain(|tree| tree != pids);
            trees.insert(0, pids.clone());
        }
        trees
    }

    /// The trees whose directories are entities, the most telling first, each mount once. The v2
    /// tree of a hybrid adds none: services without any accounting would have nothing to show.
    pub fn trees(&self) -> Vec<Box<str>> {
        match self {
            Self::V2(mount) => vec![mount.clone()],
            Self::V1(mounts) => {
                let mut trees: Vec<Box<str>> = Vec::new();
                for mount in mounts.controllers() {
                    if !trees.contains(mount) {
                        trees.push(mount.clone());
                    }
                }
                trees
            }
        }
    }
}

impl MountsV1 {
    fn keep(&mut self, mount: &Mount<'_>, point: &str) {
        match mount.kind {
            b"cgroup2" => keep_first(&mut self.unified, point),
            b"cgroup" => {
                for controller in mount.options.split(|byte| *byte == b',') {
                    match controller {
                        b"memory" => keep_first(&mut self.memory, point),
                        b"cpu" => keep_first(&mut self.cpu, point),
                        b"cpuacct" => keep_first(&mut self.cpuacct, point),
                        b"blkio" => keep_first(&mut self.blkio, point),
                        b"pids" => keep_first(&mut self.pids, point),
                        _ => (),
                    }
                }
            }
            _ => (),
        }
    }

    fn controllers(&self) -> impl Iterator<Item = &Box<str>> {
        let MountsV1 { memory, cpu, cpuacct, blkio, pids, unified: _ } = self;
        [memory, cpuacct, pids, cpu, blkio].into_iter().flatten()
    }
}

/// A later mount of the same hierarchy shows the same.
fn keep_first(place: &mut Option<Box<str>>, point: &str) {
    place.get_or_insert_with(|| point.into());
}

/// The path of a mount point for this process, without a slash at its end.
fn seen_at(host_root: &Path, escaped: &[u8]) -> Option<String> {
    let point = mountinfo::path(escaped);
    let path = host_root.join(point.strip_prefix("/").ok()?);
    Some(path.to_str()?.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(point: &str, kind: &str, options: &str) -> String {
        format!("32 31 0:29 / {point} rw,relatime shared:9 - {kind} cgroup {options}\n")
    }

    fn find(text: &str) -> Hierarchies {
        Hierarchies::find(text.as_bytes(), Path::new("/host")).unwrap()
    }

    #[test]
    fn one_tree_is_v2_even_where_it_is_called_unified() {
        for point in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            let found = find(&line(point, "cgroup2", "rw,nsdelegate"));
            assert_eq!(found, Hierarchies::V2(format!("/host{point}").into()));
            assert_eq!(found.layout(), CgroupLayout::V2);
        }
    }

    #[test]
    fn joint_controllers_share_a_tree() {
        let text = line("/cg/cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
            + &line("/cg/memory", "cgroup", "rw,memory")
            + &line("/cg/systemd", "cgroup", "rw,xattr,name=systemd");
        let found = find(&text);
        assert_eq!(found.layout(), CgroupLayout::V1);
        assert_eq!(found.trees(), ["/host/cg/memory".into(), Box::from("/host/cg/cpu,cpuacct")]);
    }

    #[test]
    fn a_hybrid_has_both() {
        let text = line("/cg/unified", "cgroup2", "rw") + &line("/cg/pids", "cgroup", "rw,pids");
        let found = find(&text);
        assert_eq!(found.layout(), CgroupLayout::Hybrid);
        assert_eq!(found.trees(), [Box::from("/host/cg/pids")]);
    }

    #[test]
    fn the_first_mount_of_a_hierarchy_counts() {
        let text =
            line("/cg/pids", "cgroup", "rw,pids") + &line("/other/pids", "cgroup", "rw,pids");
        assert_eq!(find(&text).trees(), [Box::from("/host/cg/pids")]);
    }

    #[test]
    fn the_whole_of_a_hierarchy_counts_before_a_part_of_it() {
        let part = line("/var/lib/x", "cgroup2", "rw").replace(" / ", " /docker/x ");
        let whole = line("/sys/fs/cgroup", "cgroup2", "rw");
        assert_eq!(
            find(&(part.clone() + &whole)).trees(),
            [Box::<str>::from("/host/sys/fs/cgroup")]
        );
        assert_eq!(
            find(&part).trees(),
            [Box::<str>::from("/host/var/lib/x")],
            "in a container it is all"
        );
    }

    #[test]
    fn a_host_without_cgroups_is_told_what_to_do() {
        let error = Hierarchies::find(b"", Path::new("/")).unwrap_err();
        assert!(error.to_string().contains("mount one"), "{error}");
    }
}

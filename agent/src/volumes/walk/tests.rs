use std::{fs, os::unix::fs::symlink, path::Path, process::Command};

use proptest::prelude::*;

use super::*;

/// Time for so many entries; then something may happen.
struct Steps<'a> {
    left: u32,
    at_each: &'a mut dyn FnMut(),
}

impl Pace for Steps<'_> {
    fn entry(&mut self) -> Result<(), OutOfTime> {
        (self.at_each)();
        self.left = self.left.checked_sub(1).ok_or(OutOfTime)?;
        Ok(())
    }
}

fn walk(top: &Path, mounts: &[String]) -> Result<u64, NoSize> {
    let walk = Walk { top: top.to_str().unwrap(), mounts, entries_max: 10_000 };
    size(walk, &mut Steps { left: u32::MAX, at_each: &mut || () })
}

/// What `du` says.
fn du(top: &Path) -> u64 {
    let said = Command::new("du").args(["-sx", "--block-size=512"]).arg(top).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    said.split_whitespace().next().unwrap().parse::<u64>().unwrap() * 512
}

fn write(path: &Path, bytes: usize) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, vec![7; bytes]).unwrap();
}

#[test]
fn a_tree_is_as_large_as_du_says() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    write(&top.join("a/b/large"), 300_000);
    write(&top.join("small"), 1);
    write(&top.join("empty"), 0);
    fs::hard_link(top.join("a/b/large"), top.join("again")).unwrap();
    fs::hard_link(top.join("a/b/large"), top.join("a/third")).unwrap();
    // Blocks count, not the length.
    fs::File::create(top.join("sparse")).unwrap().set_len(1 << 30).unwrap();
    // Neither what a link leads to nor the way back up.
    write(&root.path().join("outside/file"), 1_000_000);
    symlink(root.path().join("outside"), top.join("out")).unwrap();
    symlink(&top, top.join("a/up")).unwrap();
    let found = walk(&top, &[]).unwrap();
    assert_eq!(found, du(&top));
    assert!((300_000..400_000).contains(&found), "{found}");
}

#[test]
fn a_top_that_is_missing_a_file_or_a_link_has_no_size() {
    let root = tempfile::tempdir().unwrap();
    write(&root.path().join("top/file"), 9);
    symlink(root.path().join("top"), root.path().join("link")).unwrap();
    for name in ["none", "top/file"] {
        assert_eq!(walk(&root.path().join(name), &[]), Err(NoSize::Gone), "{name}");
    }
    assert!(walk(&root.path().join("link"), &[]).is_err());
}

#[test]
fn what_vanishes_meanwhile_does_not_count() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    for number in 0..50 {
        write(&top.join(format!("d{number}/file")), 5000);
    }
    let alone = du(&top.join("d0")) * 50;
    let mut entries = 0;
    let mut vanish = || {
        entries += 1;
        if entries == 20 {
            for number in 0..50 {
                fs::remove_dir_all(top.join(format!("d{number}"))).unwrap();
            }
        }
    };
    let walk = Walk { top: top.to_str().unwrap(), mounts: &[], entries_max: 10_000 };
    let found = size(walk, &mut Steps { left: u32::MAX, at_each: &mut vanish }).unwrap();
    assert!(found < alone, "{found}");
}

#[test]
fn bounds_give_a_walk_up() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    for number in 0..30 {
        write(&top.join(format!("f{number}")), 1);
    }
    let look = |entries_max, left| {
        let walk = Walk { top: top.to_str().unwrap(), mounts: &[], entries_max };
        size(walk, &mut Steps { left, at_each: &mut || () })
    };
    assert!(look(30, 30).is_ok());
    assert_eq!(look(29, 30), Err(NoSize::TooMany(29)));
    assert_eq!(look(30, 29), Err(NoSize::OutOfTime(OutOfTime)));
}

#[test]
fn a_log_counts_with_what_it_was_turned_into() {
    let root = tempfile::tempdir().unwrap();
    let log = root.path().join("a-json.log");
    let look = |entries_max| {
        let pace = &mut Steps { left: u32::MAX, at_each: &mut || () };
        log_size(log.to_str().unwrap(), entries_max, pace)
    };
    write(&root.path().join("config.json"), 50_000);
    assert_eq!(look(99), Err(NoSize::Gone));
    write(&log, 9000);
    write(&root.path().join("a-json.log.1"), 20_000);
    assert_eq!(look(99), Ok(du(&log) + du(&root.path().join("a-json.log.1"))));
    assert_eq!(look(2), Err(NoSize::TooMany(2)));
}

#[test]
fn a_walk_has_a_depth() {
    let root = tempfile::tempdir().unwrap();
    let deep = |depth: usize| {
        let top = root.path().join(depth.to_string());
        fs::create_dir_all(top.join(vec!["d"; depth].join("/"))).unwrap();
        (walk(&top, &[]), du(&top))
    };
    let (found, said) = deep(DEPTH_MAX - 1);
    assert_eq!(found, Ok(said));
    assert_eq!(deep(DEPTH_MAX).0, Err(NoSize::TooDeep));
}

#[test]
fn what_is_mounted_is_not_touched() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    write(&top.join("own"), 5000);
    let without = walk(&top, &[]).unwrap();
    write(&top.join("below/mounted/file"), 1_000_000);
    let mount = top.join("below/mounted").to_str().unwrap().to_owned();
    let with = walk(&top, &[mount]).unwrap();
    assert_eq!(with, without + du(&top.join("below")) - du(&top.join("below/mounted")));
}

/// As root: a directory is bound below itself, and a tmpfs is there.
#[test]
fn a_cycle_of_mounts_has_an_end() {
    let root = tempfile::tempdir().unwrap();
    let top = root.path().join("top");
    write(&top.join("own"), 5000);
    fs::create_dir_all(top.join("a/cycle")).unwrap();
    fs::create_dir_all(top.join("a/other")).unwrap();
    let expected = walk(&top, &[]).unwrap();
    let each = du(&top.join("a/other"));
    let script = format!(
        "mount --bind {0} {0}/a/cycle && mount -t tmpfs none {0}/a/other && \
         dd if=/dev/zero of={0}/a/other/file bs=1M count=1 2>/dev/null && \
         exec {1} --exact volumes::walk::tests::walked_in_a_namespace",
        top.display(),
        std::env::current_exe().unwrap().display(),
    );
    let said = root.path().join("said");
    let ran = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .env("TALLY_TEST_WALK", &top)
        .env("TALLY_TEST_WALKED", &said)
        .output()
        .unwrap();
    if !ran.status.success() {
        println!("SKIPPED: mounting needs root");
        assert!(!is_root(), "{ran:?}");
        return;
    }
    let said = fs::read_to_string(said).unwrap();
    let found: Vec<u64> = said.lines().map(|line| line.parse().unwrap()).collect();
    // What is bound there is seen, not entered; and neither where the mounts are known.
    assert_eq!(found, [expected - each, expected - 2 * each]);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What [`a_cycle_of_mounts_has_an_end`] runs.
#[test]
fn walked_in_a_namespace() {
    let (Ok(top), Ok(said)) =
        (std::env::var("TALLY_TEST_WALK"), std::env::var("TALLY_TEST_WALKED"))
    else {
        return;
    };
    let mounts = ["a/cycle", "a/other"].map(|below| format!("{top}/{below}"));
    let found = [&[][..], &mounts[..]].map(|mounts| walk(Path::new(&top), mounts).unwrap());
    fs::write(said, format!("{}\n{}\n", found[0], found[1])).unwrap();
}

#[derive(Clone, Debug)]
enum Entry {
    File(usize),
    Link(usize),
    Symlink,
}

fn entries() -> impl Strategy<Value = Vec<(Vec<u8>, Entry)>> {
    let path = proptest::collection::vec(0u8..4, 1..6);
    let entry = prop_oneof![
        (0usize..20_000).prop_map(Entry::File),
        (0usize..50).prop_map(Entry::Link),
        Just(Entry::Symlink),
    ];
    proptest::collection::vec((path, entry), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn every_tree_is_as_large_as_du_says(entries in entries()) {
        let root = tempfile::tempdir().unwrap();
        let top = root.path().join("top");
        fs::create_dir(&top).unwrap();
        let mut files = Vec::new();
        for (number, (path, entry)) in entries.into_iter().enumerate() {
            let folder = path.iter().fold(top.clone(), |at, part| at.join(part.to_string()));
            fs::create_dir_all(&folder).unwrap();
            let path = folder.join(format!("f{number}"));
            match entry {
                Entry::File(bytes) => {
                    write(&path, bytes);
                    files.push(path);
                }
                Entry::Link(which) if !files.is_empty() => {
                    fs::hard_link(&files[which % files.len()], path).unwrap();
                }
                Entry::Link(_) => (),
                Entry::Symlink => symlink("/", path).unwrap(),
            }
        }
        // Name by name, as on old kernels, it is the same.
        let walk = Walk { top: top.to_str().unwrap(), mounts: &[], entries_max: 10_000 };
        for can_resolve in [true, false] {
            let found = size_by(walk, can_resolve, &mut Steps { left: 10_000, at_each: &mut || () });
            prop_assert_eq!(found, Ok(du(&top)));
        }
    }
}

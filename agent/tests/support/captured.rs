//! Captured hosts (`tests/hosts`) as trees of files.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

const HOSTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/hosts");

/// A line of a txtar archive that begins an entry.
enum Entry<'a> {
    File(&'a str),
    Link(&'a str, &'a str),
}

fn entry(line: &str) -> Option<Entry<'_>> {
    let inner = line.trim_end().strip_prefix("-- ")?.strip_suffix(" --")?;
    Some(match inner.split_once(" -> ") {
        Some((path, target)) => Entry::Link(path, target),
        None => Entry::File(inner),
    })
}

/// Lays a txtar archive out below `root`.
pub(crate) fn unpack(archive: &str, root: &Path) {
    let mut file: Option<(PathBuf, String)> = None;
    let write = |file: Option<(PathBuf, String)>| {
        if let Some((path, text)) = file {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
    };
    for line in archive.split_inclusive('\n') {
        match entry(line) {
            Some(Entry::File(path)) => {
                write(file.replace((root.join(path), String::new())));
            }
            Some(Entry::Link(path, target)) => {
                write(file.take());
                let path = root.join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                symlink(target, path).unwrap();
            }
            None => {
                if let Some((_, text)) = &mut file {
                    text.push_str(line);
                }
            }
        }
    }
    write(file);
}

/// Every archive, sorted.
pub(crate) fn captures() -> Vec<PathBuf> {
    let mut captures: Vec<PathBuf> = fs::read_dir(HOSTS)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txtar"))
        .collect();
    captures.sort();
    assert!(!captures.is_empty(), "no capture in {HOSTS}");
    captures
}

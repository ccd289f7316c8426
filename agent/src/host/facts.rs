//! What a host says about itself: its boot, its name, its kernel.

use std::{
    io,
    path::{Path, PathBuf},
};

use tally_proto::{
    message::BootId,
    name::{BadName, NodeName},
};

/// A fact that a host does not tell.
#[derive(Debug, thiserror::Error)]
pub enum NoFact {
    /// Its file cannot be read.
    #[error("cannot read {path}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{path} holds no boot id: {text:?}")]
    NoBootId {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
    },
    /// The host has no name that could be a node's.
    #[error("the host name {text:?} in {path} is no node name: set --node")]
    NoName {
        /// The file.
        path: PathBuf,
        /// What it holds.
        text: String,
        /// What is wrong with it.
        source: BadName,
    },
}

/// The id of the host's current boot.
pub fn boot_id(host_root: &Path) -> Result<BootId, NoFact> {
    let path = host_root.join("proc/sys/kernel/random/boot_id");
    let text = read(&path)?;
    parse_boot_id(&text).ok_or(NoFact::NoBootId { path, text })
}

/// What the host calls itself. Kubernetes nodes may have another name, which must be given. In a
/// container the kernel tells the container's name wherever its file is, so that the host's own file
/// is asked first.
pub fn node_name(host_root: &Path) -> Result<NodeName, NoFact> {
    let of_file = host_root.join("etc/hostname");
    let is_elsewhere = host_root != Path::new("/");
    let of_file = is_elsewhere.then(|| read(&of_file).ok().map(|text| (of_file, text))).flatten();
    let (path, text) = match of_file.filter(|(_, text)| NodeName::parse(text).is_ok()) {
        Some(found) => found,
        None => {
            let path = host_root.join("proc/sys/kernel/hostname");
            let text = read(&path)?;
            (path, text)
        }
    };
    NodeName::parse(&text).map_err(|source| NoFact::NoName { path, text, source })
}

/// The process by which the host's mounts and interfaces are seen: its first, `/1`. Where that is
/// hidden and the host is our own, `/self` sees the same.
pub fn visible_process(host_root: &str) -> &'static str {
    if host_root.is_empty() && are_processes_hidden(host_root) { "/self" } else { "/1" }
}

/// Whether other users' processes are hidden from this one (`hidepid`).
pub fn are_processes_hidden(host_root: &str) -> bool {
    std::fs::File::open(format!("{host_root}/proc/1/mountinfo")).is_err()
}

/// The kernel's release, for people. Not every tree that is read has it.
pub fn kernel(host_root: &Path) -> Option<String> {
    if let Ok(release) = read(&host_root.join("proc/sys/kernel/osrelease")) {
        return Some(release);
    }
    let version = read(&host_root.join("proc/version")).ok()?;
    version.split(' ').nth(2).map(str::to_owned)
}

fn read(path: &Path) -> Result<String, NoFact> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text.trim().to_owned()),
        Err(source) => Err(NoFact::Unreadable { path: path.to_owned(), source }),
    }
}

fn parse_boot_id(text: &str) -> Option<BootId> {
    let digits = text.replace('-', "");
    let is_uuid = digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    let number = is_uuid.then(|| u128::from_str_radix(&digits, 16).ok())??;
    Some(BootId(number.to_be_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_is_a_uuid() {
        let BootId(bytes) = parse_boot_id("01020304-0506-4708-890a-0b0c0d0e0f10").unwrap();
        assert_eq!(bytes, [1, 2, 3, 4, 5, 6, 0x47, 8, 0x89, 10, 11, 12, 13, 14, 15, 16]);
        for bad in ["", "01020304", "0102030405064708890a0b0c0d0e0f1g"] {
            assert_eq!(parse_boot_id(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_host_that_is_mounted_elsewhere_has_the_name_in_its_own_file() {
        let host = tempfile::tempdir().unwrap();
        for (file, name) in [("proc/sys/kernel/hostname", "container"), ("etc/hostname", "host")] {
            let path = host.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, format!("{name}\n")).unwrap();
            assert_eq!(node_name(host.path()).unwrap().as_str(), name);
        }
    }

    #[test]
    fn an_error_names_the_file_and_what_to_do() {
        let host = tempfile::tempdir().unwrap();
        let error = node_name(host.path()).unwrap_err().to_string();
        assert!(error.ends_with("proc/sys/kernel/hostname"), "{error}");
        std::fs::create_dir_all(host.path().join("proc/sys/kernel")).unwrap();
        std::fs::write(host.path().join("proc/sys/kernel/hostname"), "\n").unwrap();
        assert!(node_name(host.path()).unwrap_err().to_string().contains("--node"));
    }
}

//! Reads the inventory from files of Kubernetes LIST answers.

use std::{
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
};

use crate::inventory::{BadObjects, Inventory, LabelForm, add_list};

/// A pod's object has some 5 KiB, so this is more than 150,000 pods need.
const FILE_BYTES: u64 = 2 << 30;

/// A file that gives no inventory.
#[derive(Debug, thiserror::Error)]
pub enum BadInventoryFile {
    /// It cannot be read.
    #[error("cannot read the inventory file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds something else.
    #[error("the inventory file {} holds no usable list", path.display())]
    Objects {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BadObjects,
    },
}

/// The records of all files together, with labels joined as `form` says.
pub fn read(paths: &[PathBuf], form: &LabelForm) -> Result<Inventory, BadInventoryFile> {
    let mut inventory = Inventory::default();
    for path in paths {
        let json =
            text(path).map_err(|source| BadInventoryFile::Read { path: path.clone(), source })?;
        add_list(&mut inventory, &json, form)
            .map_err(|source| BadInventoryFile::Objects { path: path.clone(), source })?;
    }
    Ok(inventory)
}

fn text(path: &Path) -> io::Result<String> {
    let size = fs::metadata(path)?.len();
    if FILE_BYTES < size {
        let message = format!("it has {size} bytes, at most {FILE_BYTES} are allowed");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    let mut text = String::new();
    File::open(path)?.take(FILE_BYTES).read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::chain;

    #[test]
    fn a_fault_names_the_file() {
        let form = LabelForm::default();
        let error = read(&["/nonexistent/pods.json".into()], &form).expect_err("no such file");
        assert!(
            chain(&error).starts_with("cannot read the inventory file /nonexistent/pods.json: ")
        );
        let error = read(&["/proc/version".into()], &form).expect_err("no JSON");
        assert!(
            chain(&error).starts_with("the inventory file /proc/version holds no usable list: ")
        );
    }
}

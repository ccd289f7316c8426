//! The program itself: `tally-aggregator history`, with its codes and streams.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

fn history(directory: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tally-aggregator"));
    command.env_clear().env("TALLY_AGGREGATOR_HISTORY_DIR", directory);
    command.arg("history").args(arguments).output().unwrap()
}

#[test]
fn codes_and_streams_are_those_of_a_command() {
    let folder = tempfile::tempdir().unwrap();
    let shown = history(folder.path(), &["inspect", "--json"]);
    assert!(shown.status.success() && shown.stderr.is_empty(), "{shown:?}");
    let exported = history(folder.path(), &["export"]);
    assert_eq!(exported.stdout, b"# EOF\n");
    assert!(String::from_utf8_lossy(&exported.stderr).starts_with("note: nothing there"));
    fs::write(folder.path().join("raw-020000-000000000001-000000000001.tally"), "x").unwrap();
    let verified = history(folder.path(), &["verify"]);
    assert_eq!(verified.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&verified.stdout).starts_with("fault: raw-020000-"));
    let nowhere = history(&folder.path().join("no"), &["verify"]);
    assert_eq!(nowhere.status.code(), Some(1));
    let told = String::from_utf8_lossy(&nowhere.stderr).into_owned();
    assert!(told.starts_with("tally-aggregator: cannot read the history directory"), "{told}");
}

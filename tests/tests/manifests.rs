//! What `deploy/kubernetes` and `deploy/helm` say of the programs is true of them. That the chart gives the
//! same objects as the manifests is `tests/real/in-manifests`' matter.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use clap::CommandFactory;

/// Every file of a folder, those below it too: its path, and its text.
fn files(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(5 < found.len(), "{folder} has {} files", found.len());
    found
}

/// The words of a text that are made of capitals, digits and `_`.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !(letter.is_ascii_uppercase() || letter == '_'));
    words.filter(|word| word.starts_with("TALLY_"))
}

#[test]
fn variables_are_flags() {
    let commands =
        [tally_aggregator::settings::Flags::command(), tally_agent::settings::Flags::command()];
    let known: BTreeSet<String> = commands
        .iter()
        .flat_map(clap::Command::get_arguments)
        .filter_map(|flag| Some(flag.get_env()?.to_string_lossy().into_owned()))
        .collect();
    for folder in ["deploy/kubernetes", "deploy/helm"] {
        for (path, text) in files(folder) {
            for variable in variables(&text) {
                // The schema has the pattern of all of them.
                let is_pattern = variable == "TALLY_" || variable.ends_with("R_");
                assert!(
                    is_pattern || known.contains(variable),
                    "{variable} in {} is no flag",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn images_have_the_version_of_the_programs() {
    let version = env!("CARGO_PKG_VERSION");
    let mut tags = 0;
    for (path, text) in files("deploy/kubernetes") {
        for line in text.lines().filter(|line| line.trim_start().starts_with("image: ")) {
            let tag = line.rsplit(':').next();
            assert_eq!(tag, Some(version), "{}", path.display());
            tags += 1;
        }
    }
    assert_eq!(tags, 2);
    for (path, text) in files("deploy/helm") {
        if path.ends_with("Chart.yaml") {
            assert!(text.lines().any(|line| line == format!("appVersion: {version}")));
        }
    }
}

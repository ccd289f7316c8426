//! What the shell scripts of the repository keep to.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{fs, path::Path, process::Command};

use tally_tests::skip::skip;

/// Readers that leave before all is said: under `pipefail` the writer's SIGPIPE is then the failure of the
/// whole pipe, sometimes. `sed -n 1p` and `grep … >/dev/null` read to the end.
fn leaves_early(line: &str) -> bool {
    let code = line.split_once(" # ").map_or(line, |(code, _)| code);
    let pipes = code.replace("||", "\n");
    pipes.lines().flat_map(|pipe| pipe.split('|').skip(1)).any(|reader| {
        let mut words = reader.split_whitespace();
        match words.next() {
            Some("head") => true,
            Some("grep") => words.take_while(|word| word.starts_with('-')).any(|word| {
                word == "--quiet" || !word.starts_with("--") && word.contains(['q', 'm'])
            }),
            Some(_) | None => false,
        }
    })
}

/// Scripts that end when one of a pipe's commands fails.
fn scripts_with_pipefail() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let git = Command::new("git").arg("-C").arg(root).arg("ls-files").output();
    let listed = git.ok().filter(|git| git.status.success()).map(|git| git.stdout);
    String::from_utf8(listed.unwrap_or_default())
        .unwrap()
        .lines()
        .filter_map(|name| Some((name.to_owned(), fs::read_to_string(root.join(name)).ok()?)))
        .filter(|(name, text)| {
            text.starts_with("#!") && text.contains("pipefail") || name.ends_with(".sh")
        })
        .collect()
}

#[test]
fn no_reader_of_a_pipe_leaves_early() {
    let scripts = scripts_with_pipefail();
    if scripts.is_empty() {
        skip("git does not list the files of this folder");
        return;
    }
    let found: Vec<String> = scripts
        .iter()
        .flat_map(|(name, text)| {
            let lines = text.lines().enumerate();
            lines
                .filter(|(_, line)| leaves_early(line))
                .map(move |(at, line)| format!("{name}:{}: {line}", at + 1))
        })
        .collect();
    assert!(found.is_empty(), "readers that leave early:\n{}", found.join("\n"));
}

#[test]
fn a_reader_that_leaves_early_is_seen() {
    assert!(leaves_early("first=$(list | head -n 1)"));
    assert!(leaves_early("ask \"$1\" | tr -d x | grep -qix 'retry'"));
    assert!(leaves_early("list | grep -m 1 x"));
    assert!(!leaves_early("list | grep -v mq"));
    assert!(!leaves_early("list | grep x >/dev/null || head -n 1 log"));
    assert!(!leaves_early("grep -q x file"));
}

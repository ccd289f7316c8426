//! What the program writes into a log that is no terminal.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{
    io::{BufRead, BufReader},
    process::{Command, Stdio},
};

#[test]
fn a_log_that_is_no_terminal_has_no_colours() {
    let mut aggregator = Command::new(env!("CARGO_BIN_EXE_tally-aggregator"))
        .args(["--rest-listen=127.0.0.1:0", "--grpc-listen=127.0.0.1:0", "--no-history"])
        .arg("--no-kubernetes")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(aggregator.stderr.take().unwrap()).lines();
    let started = lines.map(Result::unwrap).find(|line| line.contains("started")).unwrap();
    aggregator.kill().unwrap();
    aggregator.wait().unwrap();
    assert!(!started.contains('\u{1b}'), "{started:?}");
}

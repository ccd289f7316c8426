use clap::Parser;

use super::*;

fn check(flags: &[&str]) -> Result<Settings, Faults> {
    let flags = std::iter::once("tally-agent").chain(flags.iter().copied());
    Settings::check(Flags::try_parse_from(flags).unwrap())
}

fn faults(flags: &[&str]) -> Vec<String> {
    check(flags).unwrap_err().0
}

#[test]
fn without_flags_the_defaults_hold() {
    let settings = Settings::defaults().unwrap();
    assert_eq!(settings.aggregator, "http://127.0.0.1:8083");
    assert_eq!(settings.resolution, Resolution::DEFAULT);
    assert_eq!(settings.host_root, PathBuf::from("/"));
    assert_eq!(settings.outbox, Limits { frames: 60, bytes: 2 << 20 });
    assert_eq!(settings.spool_dir, SpoolDir::Usual);
    assert_eq!(
        settings.spool,
        spool::Limits { bytes: 256 << 20, age_s: 86_400, segment_bytes: spool::SEGMENT_BYTES }
    );
    assert!(!settings.container_load && !settings.once);
}

#[test]
fn every_fault_is_named_at_once() {
    let found = faults(&[
        "--resolution=0",
        "--outbox-bytes=8MB",
        "--aggregator=https://aggregator:8083",
        "--node=a\nb",
        "--once=maybe",
        "--outbox-minutes=0",
        "--disk-usage-interval=9s",
        "--spool-max-bytes=1MiB",
        "--spool-max-age=1d",
        "--log=tally=loud",
        "--log-format=xml",
    ]);
    let flags: Vec<&str> = found.iter().map(|fault| fault.split(' ').next().unwrap()).collect();
    assert_eq!(
        flags,
        [
            "--resolution",
            "--disk-usage-interval",
            "--outbox-minutes",
            "--outbox-bytes",
            "--spool-max-bytes",
            "--spool-max-age",
            "--aggregator",
            "--node",
            "--once",
            "--log",
            "--log-format"
        ]
    );
}

#[test]
fn a_fault_says_what_was_given_and_what_is_allowed() {
    assert_eq!(
        faults(&["--outbox-minutes=2000"]),
        ["--outbox-minutes \"2000\": it must be a number from 1 to 1440"]
    );
    assert_eq!(
        faults(&["--resolution=2h"]),
        ["--resolution \"2h\": a resolution is a whole number of seconds from 1 to 3600, not 7200"]
    );
    assert_eq!(
        faults(&["--aggregator=aggregator:8083"]),
        [
            "--aggregator \"aggregator:8083\": it must begin with http://, this version speaks no TLS"
        ]
    );
}

#[test]
fn the_outbox_has_a_frame_for_each_tick_of_its_minutes() {
    let frames = |flags: &[&str]| check(flags).unwrap().outbox.frames;
    assert_eq!(frames(&["--resolution=1s"]), 900);
    assert_eq!(frames(&["--resolution=1m", "--outbox-minutes=5"]), 5);
    assert_eq!(frames(&["--resolution=1h"]), 1);
}

#[test]
fn what_is_on_disk_is_looked_at_each_minute_or_never() {
    let interval = |flags: &[&str]| check(flags).unwrap().disk_usage_interval;
    assert_eq!(interval(&[]), Some(Duration::from_secs(60)));
    assert_eq!(interval(&["--disk-usage-interval=10"]), Some(Duration::from_secs(10)));
    for off in ["off", "0", "0s"] {
        assert_eq!(interval(&[&format!("--disk-usage-interval={off}")]), None);
    }
    let settings = check(&["--kubelet-dir=/k", "--pod-logs-dir=/l"]).unwrap();
    assert_eq!(settings.kubelet_dir, PathBuf::from("/k"));
    assert_eq!(settings.pod_logs_dir, PathBuf::from("/l"));
}

#[test]
fn an_empty_folder_is_none() {
    let at = |flags: &[&str]| check(flags).unwrap().spool_dir;
    assert_eq!(at(&["--spool-dir="]), SpoolDir::Nowhere);
    assert_eq!(at(&["--spool-dir=/data"]), SpoolDir::At("/data".into()));
}

#[test]
fn sockets_are_a_list_and_an_empty_one_is_none() {
    let cri = |flags: &[&str]| check(flags).unwrap().cri_sockets;
    let docker = |flags: &[&str]| check(flags).unwrap().docker_sockets;
    let at = |paths: &[&str]| Places::At(paths.iter().map(PathBuf::from).collect());
    assert_eq!(cri(&[]), Places::Usual);
    assert_eq!(docker(&[]), Places::Usual);
    assert_eq!(cri(&["--cri-sockets="]), at(&[]));
    assert_eq!(docker(&["--docker-sockets="]), at(&[]));
    assert_eq!(cri(&["--cri-sockets=/run/a.sock"]), at(&["/run/a.sock"]));
    assert_eq!(docker(&["--docker-sockets=/a.sock,/b.sock"]), at(&["/a.sock", "/b.sock"]));
}

#[test]
fn a_switch_needs_no_value() {
    assert!(check(&["--once"]).unwrap().once);
    assert!(!check(&["--once=false"]).unwrap().once);
    assert!(check(&["--container-load", "--log=warn"]).unwrap().container_load);
}

#[test]
fn the_nodes_own_flag_goes_before_the_downward_api() {
    let node = |flags: &[&str]| check(flags).unwrap().node.map(|node| node.to_string());
    assert_eq!(node(&["--node=a", "--node-name=b"]).as_deref(), Some("a"));
    assert_eq!(node(&["--node-name=b"]).as_deref(), Some("b"));
}

#[test]
fn every_flag_has_a_variable_and_a_line_of_help() {
    let table = flag_table();
    assert_eq!(table.len(), 18);
    for FlagRow { flag, variable, default, help } in table {
        let derived = flag.trim_start_matches('-').to_uppercase().replace('-', "_");
        assert_eq!(variable, format!("TALLY_AGENT_{derived}"));
        assert!(!help.is_empty(), "{flag} has no help");
        assert!(
            !default.is_empty()
                || ["--node", "--spool-dir", "--cri-sockets", "--docker-sockets"].contains(&&*flag),
            "{flag} has no default"
        );
    }
}

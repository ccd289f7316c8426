//! The commands on a real directory: what they say is what was written, and they change nothing.
#![expect(clippy::as_conversions, reason = "small numbers of made-up samples")]

mod stored_labels;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    path::Path,
    sync::Arc,
};

use ::parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field as Cell, Row as ParquetRow},
};
use clap::Parser;
use proptest::prelude::*;
use tally_proto::{
    message::{PackedFrame, Sequence},
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Tick, UnixMs},
};

use super::*;
use crate::{
    history::{
        cache::Cache,
        disk::real::Directory,
        life::{InPod, Life, Who},
        series::{Field, Quantity, Row, Series, What},
        store::Store,
        timeline::Timeline,
    },
    journal::entry::{Standing, StreamNumber, push_frame},
    settings::{Command, Flags},
};

const DAY: u64 = 86_400;
const BEGIN: u64 = 20_000 * DAY;
const TICKS: u64 = 2 * DAY / 300;

fn in_pod(container: Option<&str>) -> Who {
    Who::InPod(InPod {
        namespace: NamespaceName::parse("default").unwrap(),
        pod: PodName::parse("web").unwrap(),
        uid: PodUid::parse("u-1").unwrap(),
        container: container.map(|name| ContainerName::parse(name).unwrap()),
        node: NodeName::parse("node-a").unwrap(),
    })
}

/// A metric, its label, whether it is a double, whether it counts.
type Made = (&'static str, Option<&'static str>, bool, bool);

const MADE: [Made; 5] = [
    ("memory/usage", None, false, false),
    ("cpu/usage", None, false, true),
    ("filesystem/usage", Some("/a,b=\"c\\"), false, false),
    ("filesystem/usage", Some("/"), false, false),
    ("cpu/node_utilization", None, true, false),
];

fn what((name, label, floating, cumulative): Made) -> What {
    let metric = MetricName::parse(name).unwrap();
    let labels = Labels::new(label.map(|value| ("resource_id", value))).unwrap();
    What::Metric(Quantity { metric, labels, field: Field::Value, floating, cumulative })
}

/// Rows of some ticks of everybody; the container was started again at noon of the second day.
fn rows(ticks: std::ops::Range<u64>, salt: u64) -> Vec<Row> {
    let node = NodeName::parse("node-a").unwrap();
    let everybody = [
        (Who::Cluster, None, 0..TICKS),
        (Who::Namespace(NamespaceName::parse("default").unwrap()), None, 0..TICKS),
        (Who::Node(node.clone()), Some(1), 0..TICKS),
        (
            Who::FreeContainer(node, ContainerName::parse("/system.slice").unwrap()),
            Some(2),
            0..TICKS,
        ),
        (in_pod(None), Some(3), 0..TICKS),
        (in_pod(Some("app")), Some(4), 0..TICKS * 3 / 4),
        (in_pod(Some("app")), Some(5), TICKS * 3 / 4..TICKS),
    ];
    let mut rows = Vec::new();
    for (number, (who, start, lives)) in (0u64..).zip(everybody) {
        let ticks = ticks.start.max(lives.start)..ticks.end.min(lives.end);
        let timeline = Arc::new(Timeline::of(ticks.clone().map(|n| Tick(BEGIN + n * 300))));
        let mut series = vec![Series {
            what: Arc::new(What::ReadOffset),
            timeline: Arc::clone(&timeline),
            values: ticks.clone().map(|n| (n % 7) as i64).collect(),
            sketches: Vec::new(),
        }];
        for (place, made) in (0u64..).zip(MADE) {
            let value = |n: u64| {
                let noise = (n * 2_654_435_761 + place * 97 + number + salt) >> 3 & 0xffff;
                match made {
                    (_, _, true, _) => (noise as f64 / 7.0).to_bits().cast_signed(),
                    (_, _, _, true) => (n * 1_000_000 + salt) as i64,
                    _ => noise as i64 * 4096 - 5,
                }
            };
            series.push(Series {
                what: Arc::new(what(made)),
                timeline: Arc::clone(&timeline),
                values: ticks.clone().map(value).collect(),
                sketches: Vec::new(),
            });
        }
        series.sort_by(|a, b| a.what.cmp(&b.what));
        if !timeline.is_empty() {
            rows.push(Row { life: Arc::new(Life { who, start: start.map(UnixMs) }), series });
        }
    }
    rows
}

/// By time, entity in its life, and metric with its labels: the stored value.
type Values = BTreeMap<(u64, Arc<Life>, Arc<What>), i64>;

/// Two days written by the hour, the first merged with its tiers; a part written once more.
fn write(folder: &Path) -> (Store, Values) {
    let directory = Directory::take(folder, std::process::id()).unwrap();
    let (store, _) = Store::open(Arc::new(directory), Cache::default()).unwrap();
    let mut values = Values::new();
    let hours = (0..TICKS / 12).map(|hour| (hour * 12..(hour + 1) * 12, 0));
    for (ticks, salt) in hours.chain([(TICKS - 40..TICKS - 20, 9)]) {
        let rows = rows(ticks, salt);
        for row in &rows {
            for series in row.series.iter().filter(|series| *series.what != What::ReadOffset) {
                for (tick, value) in series.timeline.iter().zip(&series.values) {
                    values
                        .insert((tick.0, Arc::clone(&row.life), Arc::clone(&series.what)), *value);
                }
            }
        }
        store.write(rows).unwrap();
    }
    while store.merge(Tick(BEGIN + DAY + 3700), || u64::MAX).unwrap().is_some() {}
    (store, values)
}

fn ask(folder: &Path, arguments: &[&str]) -> Result<(ExitCode, String, String), CommandError> {
    let folder = folder.to_str().unwrap();
    let all = ["tally-aggregator", "history", "--history-dir", folder];
    let all = all.iter().chain(arguments);
    let flags = Flags::try_parse_from(all).unwrap_or_else(|error| panic!("{error}"));
    let Some(Command::History(asked)) = flags.command else { panic!("no command") };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut streams = Streams { out: &mut out, notes: &mut notes, is_watched: false };
    let code = run(&asked, &mut streams)?;
    Ok((code, String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap()))
}

fn ok(folder: &Path, arguments: &[&str]) -> String {
    let (code, out, _) = ask(folder, arguments).unwrap();
    assert_eq!(code, ExitCode::SUCCESS, "{out}");
    out
}

/// Names and contents of a directory.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let named = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    };
    files.map(named).collect()
}

#[test]
fn a_table_says_what_there_is() {
    let folder = tempfile::tempdir().unwrap();
    let (store, values) = write(folder.path());
    fs::write(folder.path().join("journal-000001.tally"), [0; 2048]).unwrap();
    let out = ok(folder.path(), &["inspect", "--files"]);
    let line = |head: &str| -> Vec<String> {
        let line = out.lines().find(|line| line.starts_with(head)).expect(head);
        line[14..].split_whitespace().map(str::to_owned).collect()
    };
    assert!(out.contains(&format!("in use by process {}", std::process::id())), "{out}");
    assert_eq!(line("days"), ["2", "1", "1"]);
    assert_eq!(line("entities"), ["6", "6", "6"]);
    assert_eq!(line("with restarts"), ["7", "6", "6"]);
    // Tiers have a rate for each counter that has one.
    assert_eq!(line("series"), ["35", "36", "36"]);
    assert_eq!(line("first")[0], "2024-10-04T00:00:00Z");
    assert_eq!(
        line("last"),
        ["2024-10-05T23:55:00Z", "2024-10-04T23:55:00Z", "2024-10-04T23:00:00Z"]
    );
    let samples: u64 = line("samples")[0].replace(',', "").parse().unwrap();
    assert!(values.len() as u64 <= samples && samples < values.len() as u64 + 1000, "{out}");
    assert!(out.contains("journal: 1 files, 2.0 KiB"), "{out}");
    assert!(out.lines().all(|line| line.len() <= 100), "{out}");
    let json = ok(folder.path(), &["inspect", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tiers"][0]["samples"], samples);
    assert_eq!(
        json["tiers"][0]["bytes"].as_u64().unwrap()
            + json["tiers"][1]["bytes"].as_u64().unwrap()
            + json["tiers"][2]["bytes"].as_u64().unwrap(),
        store.held().bytes
    );
    drop(store);
    assert!(ok(folder.path(), &["inspect"]).contains("not in use"));
}

#[test]
fn an_empty_directory_is_a_table_of_nothing_and_no_directory_an_error() {
    let folder = tempfile::tempdir().unwrap();
    assert!(ok(folder.path(), &["inspect"]).contains("not in use"));
    assert!(ok(folder.path(), &["verify"]).ends_with("0 files, 0 B, 0 values: no faults\n"));
    let error = ask(&folder.path().join("no"), &["verify"]).unwrap_err();
    assert!(error.to_string().contains("--history-dir"), "{error}");
    assert_eq!(contents(folder.path()), BTreeMap::new());
}

#[test]
fn what_a_crash_leaves_is_harmless_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = write(folder.path());
    store.write(rows(0..3, 1)).unwrap();
    let single = store.files().keys().find(|name| name.first == name.last).copied().unwrap();
    let single = single.to_string();
    let bytes = fs::read(folder.path().join(&single)).unwrap();
    while store.merge(Tick(BEGIN + 3 * DAY), || u64::MAX).unwrap().is_some() {}
    fs::write(folder.path().join(&single), &bytes).unwrap();
    fs::write(folder.path().join(format!("{single}.new")), "half").unwrap();
    let before = contents(folder.path());
    let (code, out, notes) = ask(folder.path(), &["verify"]).unwrap();
    assert_eq!((code, notes.as_str()), (ExitCode::SUCCESS, ""));
    assert!(out.contains(&format!("harmless: {single} was merged")), "{out}");
    assert!(out.contains(&format!("harmless: {single}.new is being written")), "{out}");
    assert!(out.ends_with("no faults\n"), "{out}");
    ok(folder.path(), &["inspect"]);
    ok(folder.path(), &["export"]);
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn the_journal_is_checked_too() {
    let folder = tempfile::tempdir().unwrap();
    let mut bytes = b"tallyjnl\x01\0\0\0".to_vec();
    for sequence in 1..=3 {
        let columns = vec![7; 100].into();
        let frame = PackedFrame { sequence: Sequence(sequence), tick: Tick(sequence), columns };
        push_frame(StreamNumber(0), &frame, Standing::New, &mut bytes);
    }
    let verified = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let (code, out, _) = ask(folder.path(), &["verify"]).unwrap();
        fs::remove_file(path).unwrap();
        (code == ExitCode::SUCCESS, out.lines().next().unwrap().to_owned())
    };
    let torn = &bytes[..bytes.len() - 1];
    let mut damaged = bytes.clone();
    damaged[150] ^= 1;
    for (name, bytes, is_fine, line) in [
        ("journal-000000000001.tally", &bytes[..], true, "journal: 1 segments, 399 B, 3 frames"),
        ("journal-000000000001-kept.tally", torn, true, "journal: 1 segments, 398 B, 2 frames"),
        ("journal-000000000001.tally", &damaged, false, "fault: journal-000000000001.tally: is"),
        ("journal-000000000001-aside.tally", &bytes, false, "fault: journal-000000000001-aside"),
    ] {
        let (fine, first) = verified(name, bytes);
        assert!(fine == is_fine && first.starts_with(line), "{name}: {first}");
    }
}

#[test]
fn a_torn_file_and_one_of_a_newer_version_are_faults() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let names: Vec<String> = contents(folder.path()).into_keys().collect();
    let [first, .., last] = names.as_slice() else { panic!("no files") };
    assert_eq!(last, "raw-020001-000000000025-000000000049.tally", "{names:?} {first}");
    let path = folder.path().join(last);
    let mut bytes = fs::read(&path).unwrap();
    bytes[8] = 99;
    fs::write(&path, &bytes).unwrap();
    let (code, out, _) = ask(folder.path(), &["verify"]).unwrap();
    assert_eq!(code, ExitCode::FAILURE);
    assert!(out.starts_with(&format!("fault: {last} has format 99")), "{out}");
    bytes[8] = 1;
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    let (_, out, _) = ask(folder.path(), &["verify"]).unwrap();
    assert!(out.starts_with(&format!("fault: {last} is damaged: it is torn")), "{out}");
    assert!(ok(folder.path(), &["inspect"]).contains("damaged (see history verify): 1"));
    let error = ask(folder.path(), &["export"]).unwrap_err();
    assert!(error.to_string().contains(last), "{error}");
    // What does not need the file is exported.
    ok(folder.path(), &["export", "--end", "2024-10-04T12:00:00Z"]);
    ok(folder.path(), &["export", "--tier", "1h"]);
}

/// Reads a Parquet file back to what was written.
fn parquet_values(path: &Path) -> Values {
    let text = |row: &BTreeMap<String, Cell>, name: &str| match &row[name] {
        Cell::Str(text) => Some(text.clone()),
        Cell::Null => None,
        other => panic!("{name}: {other:?}"),
    };
    let mut found = Values::new();
    let reader = SerializedFileReader::new(File::open(path).unwrap()).unwrap();
    for row in reader.get_row_iter(None).unwrap() {
        let row: ParquetRow = row.unwrap();
        let row: BTreeMap<String, Cell> = row.into_columns().into_iter().collect();
        let name = |column| text(&row, column);
        let node = || NodeName::parse(&name("node").unwrap()).unwrap();
        let who = match name("kind").unwrap().as_str() {
            "cluster" => Who::Cluster,
            "namespace" => {
                Who::Namespace(NamespaceName::parse(&name("namespace").unwrap()).unwrap())
            }
            "node" => Who::Node(node()),
            "free-container" => Who::FreeContainer(
                node(),
                ContainerName::parse(&name("container").unwrap()).unwrap(),
            ),
            "pod" | "pod-container" => {
                assert_eq!(name("pod_uid"), Some("u-1".to_owned()));
                in_pod(name("container").as_deref())
            }
            other => panic!("{other}"),
        };
        let time = |column: &str| match row[column] {
            Cell::TimestampMillis(time) => Some(time),
            Cell::Null => None,
            ref other => panic!("{column}: {other:?}"),
        };
        let life = Arc::new(Life { who, start: time("start").map(UnixMs) });
        let (value, floating) = match (&row["value_int"], &row["value_float"]) {
            (Cell::Long(value), Cell::Null) => (*value, false),
            (Cell::Null, Cell::Double(value)) => (value.to_bits().cast_signed(), true),
            other => panic!("{other:?}"),
        };
        let (metric, labels) = (name("metric").unwrap(), name("labels"));
        let made = MADE.into_iter().find(|made| {
            let What::Metric(quantity) = what(*made) else { return false };
            made.0 == metric && numbers::labels_text(&quantity.labels, &Labels::none()) == labels
        });
        let made = made.expect("a metric that was written");
        assert_eq!((made.2, name("aggregate").as_deref()), (floating, Some("value")));
        let tick = u64::try_from(time("time").unwrap()).unwrap() / 1000;
        let before = found.insert((tick, life, Arc::new(what(made))), value);
        assert_eq!(before, None, "a sample twice");
    }
    found
}

#[test]
fn parquet_has_exactly_the_samples_that_were_written() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("all.parquet");
    let (_store, mut values) = write(folder.path());
    let export = ["export", "--format", "parquet", "--output", file.to_str().unwrap()];
    ok(folder.path(), &export);
    assert!(parquet_values(&file) == values);
    assert_eq!(contents(elsewhere.path()).len(), 1);
    let some = ["--start", "2024-10-04T20:00:00.5Z", "--end", "2024-10-05T05:00:00+01:00"];
    let some = [&some[..], &["--metric", "cpu/usage", "--kind", "pod-container"]].concat();
    ok(folder.path(), &[&export[..], &some[..]].concat());
    values.retain(|(tick, life, what), _| {
        let is_container = matches!(&life.who, Who::InPod(InPod { container: Some(_), .. }));
        let is_usage =
            matches!(&**what, What::Metric(quantity) if quantity.metric.as_str() == "cpu/usage");
        (BEGIN + 20 * 3600 + 1..=BEGIN + 28 * 3600).contains(tick) && is_container && is_usage
    });
    assert_eq!(values.len(), 96);
    assert!(parquet_values(&file) == values);
}

#[test]
fn every_filter_keeps_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, values) = write(folder.path());
    let lines = |filter: &[&str]| {
        let out = ok(folder.path(), &[&["export", "--format", "csv"], filter].concat());
        out.lines().count() - 1
    };
    let count = |keep: fn(&Who) -> bool| values.keys().filter(|key| keep(&key.1.who)).count();
    assert_eq!(lines(&[]), values.len());
    assert_eq!(lines(&["--kind", "cluster"]), count(|who| *who == Who::Cluster));
    assert_eq!(lines(&["--pod", "web"]), count(|who| who.in_pod().is_some()));
    assert_eq!(lines(&["--node", "node-a"]), count(|who| who.node().is_some()));
    let in_namespace = count(|who| who.in_pod().is_some() || matches!(who, Who::Namespace(_)));
    assert_eq!(lines(&["--namespace", "default"]), in_namespace);
    assert_eq!(lines(&["--container", "app"]), count(|who| *who == in_pod(Some("app"))));
    assert_eq!(lines(&["--container", "app", "--kind", "pod,node"]), 0);
    assert_eq!(lines(&["--metric", "memory/usage,cpu/usage"]), values.len() * 2 / 5);
}

#[test]
fn openmetrics_has_every_sample_once_by_family_and_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, values) = write(folder.path());
    let out = ok(folder.path(), &["export"]);
    assert!(out.ends_with("# EOF\n"));
    assert!(out.contains("# TYPE tally_cpu_usage_nanoseconds counter\n# UNIT tally_cpu_usage_nanoseconds nanoseconds\n"));
    let samples: Vec<&str> = out.lines().filter(|line| !line.starts_with('#')).collect();
    let mut series = BTreeSet::new();
    let mut last = ("", 0);
    for line in &samples {
        let mut parts = line.rsplitn(3, ' ');
        let at: u64 = parts.next().unwrap().parse().unwrap();
        let series_of = parts.nth(1).unwrap();
        if last.0 == series_of {
            assert!(last.1 < at, "{line}");
        } else {
            assert!(series.insert(series_of), "{line}: not together");
        }
        last = (series_of, at);
    }
    assert_eq!(samples.len(), values.len());
    assert_eq!(series.len(), 30);
    let escaped = r#"resource_id="/a,b=\"c\\"} "#;
    assert!(out.contains(escaped), "{:?}", samples.iter().find(|line| line.contains("/a")));
}

#[test]
fn tiers_are_buckets_with_their_numbers() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, values) = write(folder.path());
    let asked = ["export", "--format", "csv", "--tier", "1h", "--metric", "memory/usage"];
    let out = ok(folder.path(), &[&asked[..], &["--kind", "cluster"]].concat());
    let cell = |aggregate: &str| -> f64 {
        let is = |line: &&str| {
            let fields: Vec<&str> = line.split(',').collect();
            fields[0] == format!("{}000", BEGIN + 3600) && fields[9] == aggregate
        };
        out.lines().find(is).unwrap().split(',').nth(10).unwrap().parse().unwrap()
    };
    let of_hour: Vec<f64> = values
        .iter()
        .filter(|((tick, life, of), _)| {
            (BEGIN + 3600..BEGIN + 7200).contains(tick)
                && life.who == Who::Cluster
                && **of == what(MADE[0])
        })
        .map(|(_, value)| *value as f64)
        .collect();
    assert_eq!(cell("count"), 12.0);
    assert_eq!(cell("min"), of_hour.iter().copied().fold(f64::MAX, f64::min));
    assert_eq!(cell("max"), of_hour.iter().copied().fold(f64::MIN, f64::max));
    assert_eq!(cell("sum"), of_hour.iter().sum::<f64>());
    assert_eq!(out.lines().count(), 1 + 24 * 4);
    let text = ok(folder.path(), &["export", "--tier", "5m", "--kind", "cluster"]);
    assert!(
        text.contains("# TYPE tally_cpu_usage_rate_max_millicores gauge\n"),
        "{}",
        &text[..2000]
    );
}

#[test]
fn wrong_flags_say_what_would_be_right() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path());
    let inside = folder.path().join("x.parquet");
    let inside = inside.to_str().unwrap();
    for (arguments, expected) in [
        (vec!["--start", "yesterday"], "--start: \"yesterday\" is no time such as"),
        (vec!["--start", "2024-10-05T00:00:00Z", "--end", "2024-10-04T00:00:00Z"], "--end: "),
        (vec!["--format", "parquet"], "--output: a Parquet file"),
        (vec!["--format", "parquet", "--output", inside], "--output: that is in the history"),
        (vec!["--output", inside], "--output: that is in the history"),
        (vec!["--output", "/nowhere/at/all"], "cannot write to /nowhere/at/all"),
    ] {
        let error = ask(folder.path(), &[&["export"], &arguments[..]].concat()).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

/// All samples of a directory, read as an export reads them.
fn exported(folder: &Path) -> Option<String> {
    let (_, out, _) = ask(folder, &["export", "--format", "csv"]).ok()?;
    let (_, tier, _) = ask(folder, &["export", "--format", "csv", "--tier", "1h"]).ok()?;
    Some(out + &tier)
}

#[test]
fn a_changed_byte_anywhere_is_found_or_does_not_matter() {
    let folder = tempfile::tempdir().unwrap();
    let directory = Directory::take(folder.path(), 1).unwrap();
    let (store, _) = Store::open(Arc::new(directory), Cache::default()).unwrap();
    store.write(rows(0..40, 0)).unwrap();
    store.write(rows(40..60, 0)).unwrap();
    while store.merge(Tick(BEGIN + 3 * DAY), || u64::MAX).unwrap().is_some() {}
    drop(store);
    let whole = exported(folder.path());
    let mut files = contents(folder.path());
    files.remove("lock");
    let files: Vec<(String, Vec<u8>)> = files.into_iter().collect();
    assert_eq!(files.len(), 3);
    let change = (0..files.len(), any::<prop::sample::Index>(), 1u8..);
    proptest!(ProptestConfig::with_cases(300), |((file, place, mask) in change)| {
        let (name, bytes) = &files[file];
        let place = place.index(bytes.len());
        let mut changed = bytes.clone();
        changed[place] ^= mask;
        fs::write(folder.path().join(name), &changed).unwrap();
        let (code, out, _) = ask(folder.path(), &["verify"]).unwrap();
        let found = code != ExitCode::SUCCESS;
        prop_assert_eq!(found, out.contains("fault: "), "{}", out);
        let same = found || exported(folder.path()) == whole;
        fs::write(folder.path().join(name), bytes).unwrap();
        prop_assert!(same, "{} at {} of {}: {}", name, place, bytes.len(), out);
    });
}

//! Aggregations of history, held against SQLite: random samples go into a history directory, random
//! questions about them go to a real aggregator over HTTP and to `tests/readers/aggregate`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    net::SocketAddr,
    path::Path,
    process::Command,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, ensure};
use jiff::Timestamp;
use serde_json::{Value, json};
use tally_aggregator::{
    app,
    clock::{Clock, Now},
    history::{
        cache::Cache,
        disk::real::Directory,
        life::{InPod, Life, Who},
        point::Value as Stored,
        series::{Field, Quantity, Row, Series, What},
        store::{Retention, Store},
        timeline::Timeline,
    },
    inventory::LabelForm,
    settings::{ApiServer, HistorySettings, Settings},
};
use tally_proto::{
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Resolution, Tick, UnixMs},
};
use tally_tests::{
    golden::{http, recording},
    skip::skip,
    swarm::random::Random,
};

/// Midnight, so that two days are touched.
const BEGIN: u64 = 20_000 * 86_400;
const STEP_S: u64 = 60;
/// Two days of a minute each: fewer than are aggregated exactly.
const TICKS: u64 = 2 * 1440;
const QUESTIONS: usize = 300;
const KEPT: Retention =
    Retention { raw_s: u64::MAX, five_minutes_s: u64::MAX, hour_s: u64::MAX, bytes: u64::MAX };

/// What is measured: whose, where it is asked for, and its metrics.
struct Owner {
    who: Who,
    path: &'static str,
    metrics: &'static [Measured],
}

/// A metric, its labels, and whether it is a double.
type Measured = (&'static str, &'static [(&'static str, &'static str)], bool);

fn owners() -> [Owner; 4] {
    let node = || NodeName::parse("node-a").unwrap();
    let in_pod = |container: Option<&str>| {
        Who::InPod(InPod {
            namespace: NamespaceName::parse("default").unwrap(),
            pod: PodName::parse("web").unwrap(),
            uid: PodUid::parse("e2b0f2a4-0000-4000-8000-000000000001").unwrap(),
            container: container.map(|name| ContainerName::parse(name).unwrap()),
            node: node(),
        })
    };
    [
        Owner {
            who: Who::Node(node()),
            path: "nodes/node-a",
            metrics: &[
                ("memory/usage", &[], false),
                ("filesystem/usage", &[("resource_id", "/")], false),
                ("filesystem/usage", &[("resource_id", "/data")], false),
                ("custom/level", &[("room", "a"), ("floor", "1")], true),
                ("custom/level", &[("room", "b"), ("floor", "1")], true),
            ],
        },
        Owner {
            who: Who::Namespace(NamespaceName::parse("default").unwrap()),
            path: "namespaces/default",
            metrics: &[("memory/usage", &[], false)],
        },
        Owner {
            who: in_pod(None),
            path: "namespaces/default/pods/web",
            metrics: &[("network/rx_errors", &[], false), ("custom/level", &[], true)],
        },
        Owner {
            who: in_pod(Some("app")),
            path: "namespaces/default/pods/web/containers/app",
            metrics: &[("memory/usage", &[], false), ("memory/rss", &[], false)],
        },
    ]
}

/// A series, with gaps of every length.
fn series((metric, labels, floating): Measured, random: &mut Random) -> Series {
    let (mut ticks, mut values) = (Vec::new(), Vec::new());
    let range = 1 << (4 + random.below(36));
    let mut at = random.below(600);
    while at < TICKS {
        ticks.push(Tick(BEGIN + at * STEP_S));
        let value = i64::try_from(random.below(range)).unwrap();
        values.push(if floating { Stored::Float(number(value)).stored() } else { value });
        at += if random.percent(5) { 1 + random.below(300) } else { 1 };
    }
    let quantity = Quantity {
        metric: MetricName::parse(metric).unwrap(),
        labels: Labels::new(labels.iter().copied()).unwrap(),
        field: Field::Value,
        floating,
        cumulative: false,
    };
    let timeline = Arc::new(Timeline::of(ticks));
    Series { what: Arc::new(What::Metric(quantity)), timeline, values, sketches: Vec::new() }
}

/// A double that is no whole number.
fn number(value: i64) -> f64 {
    f64::from(i32::try_from(value % 1_000_000).unwrap()) / 8.0
}

/// Writes the samples to a history directory and for SQLite.
fn write(history: &Path, samples: &Path, random: &mut Random) {
    let directory = Directory::take(history, 1).unwrap();
    let (store, _) = Store::open(Arc::new(directory), Cache::default()).unwrap();
    let mut out = File::create(samples).unwrap();
    let mut rows = Vec::new();
    for owner in owners() {
        let mut all: Vec<Series> =
            owner.metrics.iter().map(|metric| series(*metric, random)).collect();
        all.sort_by(|a, b| a.what.cmp(&b.what));
        for series in &all {
            let What::Metric(quantity) = &*series.what else { continue };
            let labels: serde_json::Map<String, Value> = quantity
                .labels
                .iter()
                .map(|(key, value)| (key.to_owned(), Value::from(value)))
                .collect();
            for (tick, value) in series.timeline.iter().zip(&series.values) {
                let value = match Stored::of(*value, quantity.floating) {
                    Stored::Integer(value) => json!(value),
                    Stored::Float(value) => json!(value),
                };
                let line = json!({
                    "of": owner.path,
                    "metric": quantity.metric.as_str(),
                    "labels": labels,
                    "at": tick.0 * 1000,
                    "value": value,
                });
                writeln!(out, "{line}").unwrap();
            }
        }
        rows.push(Row { life: Arc::new(Life { who: owner.who, start: None }), series: all });
    }
    store.write(rows).unwrap();
    // Of two days one is merged with its tiers; what few values need is read raw all the same.
    while store.merge(Tick(BEGIN + 86_400 + 7_200), || u64::MAX).unwrap().is_some() {}
}

/// A random question, as SQLite is asked.
fn question(random: &mut Random) -> Value {
    let owners = owners();
    let owner = &owners[random.place(owners.len())];
    let (metric, of_series, _) = owner.metrics[random.place(owner.metrics.len())];
    // Some of a series' own, all, none, and now and then one that nobody has.
    let mut labels = serde_json::Map::new();
    for (key, value) in of_series.iter().filter(|_| random.percent(50)) {
        labels.insert((*key).to_owned(), Value::from(*value));
    }
    if random.percent(5) {
        labels.insert("room".to_owned(), Value::from("nobody's"));
    }
    let start = BEGIN + random.below(TICKS * STEP_S);
    let longest = if random.percent(50) { 7_200 } else { TICKS * STEP_S };
    let length = random.below(longest);
    let bucket = [0, 60, 90, 300, 3_600, 7_200, 86_400][random.place(7)];
    json!({
        "of": owner.path,
        "metric": metric,
        "labels": labels,
        "start": start * 1000,
        "end": (start + length) * 1000,
        "bucket": bucket * 1000,
    })
}

/// The same question's path and query.
fn target(question: &Value) -> anyhow::Result<String> {
    let time = |key: &str| -> anyhow::Result<Timestamp> {
        Ok(Timestamp::from_millisecond(question[key].as_i64().context("a time")?)?)
    };
    let (of, metric) = (question["of"].as_str().unwrap(), question["metric"].as_str().unwrap());
    let (start, end) = (time("start")?, time("end")?);
    let all = "average,max,min,median,count,50-perc,95-perc,99-perc";
    let mut target = format!(
        "/api/v1/historical/{of}/metrics-aggregated/{all}/{metric}?start={start}&end={end}"
    );
    if question["bucket"] != 0 {
        target.push_str(&format!("&bucket={}ms", question["bucket"]));
    }
    let labels = question["labels"].as_object().unwrap().iter();
    let labels: Vec<String> =
        labels.map(|(key, value)| format!("{key}:{}", value.as_str().unwrap())).collect();
    if !labels.is_empty() {
        target.push_str(&format!("&labels={}", labels.join(",")));
    }
    Ok(target)
}

async fn ask(server: SocketAddr, target: &str) -> anyhow::Result<Value> {
    let request = recording::Request {
        method: "GET".to_owned(),
        target: target.to_owned(),
        headers: BTreeMap::new(),
    };
    let answer = http::ask(server, &request).await?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    ensure!(answer.status == 200, "{target}: {} {text}", answer.status);
    Ok(serde_json::from_slice(&answer.body)?)
}

/// Whether two numbers are the same, but for the last bits of a mean.
fn is_same(found: &Value, expected: &Value) -> bool {
    let number = |value: &Value| {
        let typed = value.as_object().and_then(|value| value.values().next());
        typed.unwrap_or(value).as_f64()
    };
    match (number(found), number(expected)) {
        (Some(found), Some(expected)) => (found - expected).abs() <= expected.abs() * 1e-12,
        _ => false,
    }
}

fn check(question: &Value, answer: &Value, expected: &Value) -> anyhow::Result<usize> {
    let (found, expected) = (&answer["buckets"], expected.as_array().context("buckets")?);
    let found = found.as_array().context("no buckets in the answer")?;
    ensure!(found.len() == expected.len(), "{} buckets, not {}", found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        if question["bucket"] != 0 {
            let at: Timestamp = found["timestamp"].as_str().context("no timestamp")?.parse()?;
            ensure!(expected["at"] == at.as_millisecond(), "{found} is not at {expected}");
        }
        let plain = ["count", "average", "maximum", "minimum", "median"];
        let pairs = plain.iter().map(|name| (&found[name], &expected[name]));
        let percents = ["50", "95", "99"];
        let percents = percents
            .iter()
            .map(|name| (&found["percentiles"][name], &expected["percentiles"][name]));
        let differs = pairs.chain(percents).find(|(found, expected)| !is_same(found, expected));
        ensure!(differs.is_none(), "{differs:?} in {found}, not {expected}");
    }
    Ok(expected.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn aggregations_are_those_of_sqlite() -> anyhow::Result<()> {
    let has_sqlite = Command::new("python3").args(["-c", "import sqlite3"]).status();
    if !has_sqlite.is_ok_and(|status| status.success()) {
        skip("no python3 with SQLite here, which is the second opinion");
        return Ok(());
    }
    let folder = tempfile::tempdir()?;
    let (history, samples, questions) = (
        folder.path().join("history"),
        folder.path().join("samples"),
        folder.path().join("questions"),
    );
    fs::create_dir(&history)?;
    let mut random = Random::new(7, 0);
    write(&history, &samples, &mut random);
    let asked: Vec<Value> = (0..QUESTIONS).map(|_| question(&mut random)).collect();
    let lines: String = asked.iter().map(|question| format!("{question}\n")).collect();
    fs::write(&questions, lines)?;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/aggregate");
    let worked = Command::new("python3").arg(program).arg(&samples).arg(&questions).output()?;
    ensure!(worked.status.success(), "{}", String::from_utf8_lossy(&worked.stderr));
    let expected = String::from_utf8(worked.stdout)?;

    let unix = UnixMs(i64::try_from((BEGIN + 3 * 86_400) * 1000)?);
    let settings = Settings {
        rest_listen: ([127, 0, 0, 1], 0).into(),
        grpc_listen: ([127, 0, 0, 1], 0).into(),
        secure: None,
        resolution: Resolution::from_seconds(STEP_S)?,
        model_window: Duration::from_secs(15 * 60),
        history: Some(HistorySettings { directory: history, retention: KEPT }),
        inventory: Vec::new(),
        kubernetes: ApiServer::None,
        labels: LabelForm::default(),
        max_streams: 10,
        max_entities_per_node: 10,
        max_clock_skew: Duration::from_secs(60),
    };
    let clock = Clock::new(move || Now { unix, elapsed: Duration::ZERO });
    let server = app::start(settings, clock).await?;
    let (mut buckets, mut empty) = (0, 0);
    for (question, line) in asked.iter().zip(expected.lines()) {
        let target = target(question)?;
        let answer = ask(server.rest_addr, &target).await?;
        let checked = check(question, &answer, &serde_json::from_str(line)?);
        let checked = checked.with_context(|| format!("{target}\n{answer}"))?;
        buckets += checked;
        empty += usize::from(checked == 0);
    }
    server.stop().await;
    ensure!(1_000 < buckets && empty < QUESTIONS / 2, "{buckets} buckets, {empty} empty answers");
    Ok(())
}

//! What was written is read, whatever was merged, dropped or interrupted in between.
#![expect(clippy::as_conversions, reason = "small numbers of the plain calculation")]

mod stored_labels;

use std::{collections::BTreeMap, num::NonZeroU64};

use proptest::prelude::*;
use tally_proto::{
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::UnixMs,
};

use super::{merge::Rows, *};
use crate::history::{
    disk::simulated::SimulatedDisk,
    error::Budget,
    life::{InPod, Life, Who},
    point::Value,
    question::Question,
    selection::Selection,
    series::{Field, Quantity, Series, What},
    timeline::Timeline,
};

const DAY: u64 = 86_400;
const BEGIN: u64 = 20_000 * DAY;

fn pod(pod: &str, uid: &str, container: Option<&str>) -> Who {
    Who::InPod(InPod {
        namespace: NamespaceName::parse("default").unwrap(),
        pod: PodName::parse(pod).unwrap(),
        uid: PodUid::parse(uid).unwrap(),
        container: container.map(|name| ContainerName::parse(name).unwrap()),
        node: NodeName::parse("node-a").unwrap(),
    })
}

fn metric(name: &str, cumulative: bool, floating: bool) -> What {
    let metric = MetricName::parse(name).unwrap();
    What::Metric(Quantity {
        metric,
        labels: Labels::none(),
        field: Field::Value,
        floating,
        cumulative,
    })
}

fn row(who: Who, what: What, points: &[(u64, i64)]) -> Row {
    let series = Series {
        what: Arc::new(what),
        timeline: Arc::new(Timeline::of(points.iter().map(|(tick, _)| Tick(*tick)))),
        values: points.iter().map(|(_, value)| *value).collect(),
        sketches: Vec::new(),
    };
    Row { life: Arc::new(Life { who, start: Some(UnixMs(7)) }), series: vec![series] }
}

fn usage(points: &[(u64, i64)]) -> Row {
    row(pod("web", "u-1", Some("app")), metric("memory/usage", false, false), points)
}

fn open(disk: &SimulatedDisk) -> Store {
    Store::open(Arc::new(disk.clone()), Cache::default()).unwrap().0
}

/// All raw values.
type Values = BTreeMap<(Arc<Life>, Arc<What>, Tick), i64>;

fn add(values: &mut Values, rows: &[Row]) {
    for row in rows {
        for series in &row.series {
            for (tick, value) in series.timeline.iter().zip(&series.values) {
                values.insert((Arc::clone(&row.life), Arc::clone(&series.what), tick), *value);
            }
        }
    }
}

fn values(store: &Store) -> Values {
    let files = store.files();
    let mut found = Values::new();
    let days: std::collections::BTreeSet<Window> = files.keys().map(|name| name.window).collect();
    for day in days {
        let mut rows = Rows::of(&of_day(&files, Tier::Raw, day)).unwrap();
        while let Some(row) = rows.next().unwrap() {
            add(&mut found, &[row]);
        }
    }
    found
}

fn merge_all(store: &Store, now: u64) -> Result<u32, HistoryError> {
    let mut merges = 0;
    while store.merge(Tick(now), || u64::MAX)?.is_some() {
        merges += 1;
        assert!(merges < 100, "merging never ends");
    }
    Ok(merges)
}

/// One thing that is done to a store.
#[derive(Clone, Debug)]
enum Step {
    Write(Vec<Row>),
    Merge(u64),
}

impl Step {
    fn apply(&self, store: &Store) -> Result<(), HistoryError> {
        match self {
            Self::Write(rows) => store.write(rows.clone()).map(drop),
            Self::Merge(now) => merge_all(store, *now).map(drop),
        }
    }
}

/// Two days of three entities in spans of two hours, with late values for the first day, merged
/// while and after they come.
fn script() -> Vec<Step> {
    let mut steps = Vec::new();
    for span in 0..24u64 {
        let ticks = |every: u64| (0..7200 / every).map(move |n| BEGIN + span * 7200 + n * every);
        let number =
            |tick: u64| i64::try_from(tick.wrapping_mul(2_654_435_761) >> 7 & 0xffff).unwrap();
        let gauge: Vec<(u64, i64)> = ticks(60).map(|tick| (tick, number(tick) * 4096)).collect();
        let counter: Vec<(u64, i64)> = ticks(60)
            .map(|tick| (tick, i64::try_from(tick - BEGIN).unwrap() * 1_000_000))
            .collect();
        let sum: Vec<(u64, i64)> = ticks(60).map(|tick| (tick, number(tick) % 100)).collect();
        steps.push(Step::Write(vec![
            usage(&gauge),
            row(pod("web", "u-1", Some("app")), metric("cpu/usage", true, false), &counter),
            row(Who::Cluster, metric("memory/usage", false, false), &sum),
        ]));
        steps.push(Step::Merge(BEGIN + (span + 1) * 7200));
    }
    let late = (0..50).map(|n| (BEGIN + 3600 + n * 60, i64::try_from(n).unwrap() + 1000));
    let late: Vec<(u64, i64)> = late.collect();
    steps.push(Step::Write(vec![row(Who::Cluster, metric("memory/usage", false, false), &late)]));
    steps.push(Step::Merge(BEGIN + 5 * DAY));
    steps
}

fn written(steps: &[Step]) -> Values {
    let mut found = Values::new();
    for step in steps {
        if let Step::Write(rows) = step {
            add(&mut found, rows);
        }
    }
    found
}

#[test]
fn what_was_written_is_there_after_all_merges() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    script().iter().for_each(|step| step.apply(&store).unwrap());
    assert!(values(&store) == written(&script()));
    let names: Vec<String> = store.files().keys().map(FileName::to_string).collect();
    assert_eq!(names.len(), 6, "one file of each tier and day: {names:?}");
    assert!(store.files().values().all(|file| file.verify().is_ok()));
    assert!(values(&open(&disk)) == written(&script()));
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    crash_at_any_step(&script(), 6);
}

/// Does a script again and again, each time with a crash at another step; in the end there are so
/// many files.
fn crash_at_any_step(script: &[Step], files: usize) {
    let whole = SimulatedDisk::default();
    let store = open(&whole);
    script.iter().for_each(|step| step.apply(&store).unwrap());
    let undisturbed = values(&store);
    let steps = whole.steps();
    for crash in 0..steps {
        let disk = SimulatedDisk::default();
        let store = open(&disk);
        disk.crash_after(crash);
        let done = script.iter().take_while(|step| step.apply(&store).is_ok()).count();
        assert!(done < script.len());
        let found = disk.after_crash(crash.wrapping_mul(0x9e37_79b9));
        let store = open(&found);
        let acknowledged = written(&script[..done]);
        let attempted = written(&script[..=done]);
        let there = values(&store);
        for (key, value) in &there {
            let known = [acknowledged.get(key), attempted.get(key)];
            assert!(known.contains(&Some(value)), "step {crash}: {key:?} is {value}");
        }
        assert!(acknowledged.keys().all(|key| there.contains_key(key)), "step {crash}");
        // What was not acknowledged comes again, and the end is as if nothing had happened.
        script[done..].iter().for_each(|step| step.apply(&store).unwrap());
        assert!(values(&store) == undisturbed, "step {crash}");
        assert_eq!(store.files().len(), files, "step {crash}");
        assert!(found.list().unwrap().iter().all(|name| FileName::parse(name).is_some()));
    }
}

#[test]
fn of_two_values_for_a_tick_the_later_write_counts_before_and_after_merging() {
    let store = open(&SimulatedDisk::default());
    store.write(vec![usage(&[(BEGIN, 1), (BEGIN + 60, 2)])]).unwrap();
    store.write(vec![usage(&[(BEGIN, 10)])]).unwrap();
    let read = || values(&store).into_values().collect::<Vec<_>>();
    assert_eq!(read(), [10, 2]);
    assert!(0 < merge_all(&store, BEGIN + 3 * DAY).unwrap());
    assert_eq!(read(), [10, 2]);
}

#[test]
fn a_full_disk_is_said_and_passes() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    store.write(vec![usage(&[(BEGIN, 1)])]).unwrap();
    disk.leave_room(Some(20));
    assert!(store.write(vec![usage(&[(BEGIN + 60, 2)])]).unwrap_err().is_full());
    assert_eq!(values(&store).len(), 1);
    disk.leave_room(None);
    store.write(vec![usage(&[(BEGIN + 60, 2)])]).unwrap();
    assert_eq!(values(&store).len(), 2);
    assert_eq!(values(&open(&disk)).len(), 2);
}

#[test]
fn a_newer_format_is_refused_and_a_torn_file_is_left_and_said() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    store.write(vec![usage(&[(BEGIN, 1)])]).unwrap();
    store.write(vec![usage(&[(BEGIN + 60, 2)])]).unwrap();
    let name = store.files().keys().next().unwrap().to_string();
    disk.corrupt(&name, 3);
    let (store, recovered) = Store::open(Arc::new(disk.clone()), Cache::default()).unwrap();
    assert_eq!(recovered.damaged, [(name.clone(), "it is torn".to_owned())]);
    assert_eq!(values(&store).len(), 1);
    disk.corrupt(&name, 3);
    disk.corrupt(&name, 9);
    let refused = Store::open(Arc::new(disk), Cache::default()).unwrap_err();
    assert!(refused.to_string().contains("was written by a newer tally-aggregator"), "{refused}");
}

#[test]
fn a_changed_byte_is_noticed_wherever_it_is() {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    let points: Vec<(u64, i64)> =
        (0..50).map(|n| (BEGIN + n, i64::try_from(n * n).unwrap())).collect();
    store.write(vec![usage(&points)]).unwrap();
    let name = store.files().keys().next().copied().unwrap();
    for at in 0..usize::try_from(disk.bytes()).unwrap() {
        disk.corrupt(&name.to_string(), at);
        let file = HistoryFile::open(&disk, name).map(Arc::new);
        assert!(file.is_err() || file.unwrap().verify().is_err(), "byte {at}");
        disk.corrupt(&name.to_string(), at);
    }
}

#[test]
fn the_oldest_goes_first_and_buckets_outlive_raw_values() {
    let store = open(&SimulatedDisk::default());
    script().iter().for_each(|step| step.apply(&store).unwrap());
    let tiers =
        || store.files().keys().map(|name| (name.tier, name.window.0 - 20_000)).collect::<Vec<_>>();
    let keep =
        Retention { raw_s: 30 * DAY, five_minutes_s: 30 * DAY, hour_s: 30 * DAY, bytes: u64::MAX };
    let now = Tick(BEGIN + 3 * DAY);
    assert_eq!(store.drop_old(now, keep).unwrap(), Dropped::default());
    let bytes = store.held().bytes - 1;
    let dropped = store.drop_old(now, Retention { bytes, ..keep }).unwrap();
    assert_eq!(
        dropped.files.iter().map(|name| (name.tier, name.window.0)).collect::<Vec<_>>(),
        [(Tier::Raw, 20_000)]
    );
    store.drop_old(Tick(BEGIN + 3 * DAY + 10), Retention { raw_s: DAY, ..keep }).unwrap();
    assert_eq!(
        tiers(),
        [(Tier::FiveMinutes, 0), (Tier::FiveMinutes, 1), (Tier::Hour, 0), (Tier::Hour, 1)]
    );
    store.drop_old(now, Retention { bytes: 0, ..keep }).unwrap();
    assert_eq!(store.held(), Held::default());
}

fn question(of: Selection, metric: &str, first: u64, last: u64) -> Question {
    let metric = MetricName::parse(metric).unwrap();
    Question { of, metric, labels: Labels::none(), first: Tick(first), last: Tick(last) }
}

fn app() -> Selection {
    let name = |text| PodName::parse(text).unwrap();
    let namespace = NamespaceName::parse("default").unwrap();
    Selection::PodContainer(namespace, name("web"), Some(ContainerName::parse("app").unwrap()))
}

fn points(store: &Store, question: &Question, step_s: u64) -> Vec<(u64, Value)> {
    let points = store.series(question, step_s, &[], &mut Budget::default()).unwrap();
    points.iter().map(|point| (point.at.0, point.value)).collect()
}

#[test]
fn a_rate_joins_days_and_tiers_without_a_gap() {
    let store = open(&SimulatedDisk::default());
    script().iter().for_each(|step| step.apply(&store).unwrap());
    let all = question(app(), "cpu/usage_rate", BEGIN, BEGIN + 2 * DAY - 1);
    let raw = points(&store, &all, 60);
    assert_eq!(raw.len(), 2 * 1440 - 1);
    // A million nanoseconds a second is one thousandth of a core.
    assert!(raw.iter().all(|(_, value)| *value == Value::Integer(1)));
    let second = question(app(), "cpu/usage_rate", BEGIN + DAY, BEGIN + 2 * DAY - 1);
    assert_eq!(points(&store, &second, 60).len(), 1440, "the first rate of a day");
    assert_eq!(points(&store, &second, 300).len(), 288);
    assert_eq!(points(&store, &second, 3600).len(), 24);
    // From half a day on: raw values up to midnight, buckets after.
    let later = question(app(), "cpu/usage_rate", BEGIN + DAY / 2, BEGIN + 2 * DAY - 1);
    let joined = points(&store, &later, 3600);
    assert_eq!(joined.len(), 720 + 24);
    assert!(joined.is_sorted_by_key(|(at, _)| *at));
    let buckets =
        store.clone_for_tiers().aggregate(&second, None, &[], &mut Budget::default()).unwrap();
    assert_eq!(buckets[0].count(), 1440);
    assert!(!buckets[0].is_exact());
}

#[test]
fn names_with_several_uids_are_joined_and_told_apart() {
    let store = open(&SimulatedDisk::default());
    let what = || metric("memory/usage", false, false);
    store.write(vec![row(pod("web", "u-1", None), what(), &[(BEGIN, 1)])]).unwrap();
    store.write(vec![row(pod("web", "u-2", None), what(), &[(BEGIN + 60, 2)])]).unwrap();
    let namespace = NamespaceName::parse("default").unwrap();
    let by_name = Selection::Pod(namespace.clone(), Some(PodName::parse("web").unwrap()));
    let by_uid = Selection::PodByUid(PodUid::parse("u-2").unwrap());
    let read = |of: Selection| points(&store, &question(of, "memory/usage", BEGIN, BEGIN + DAY), 1);
    assert_eq!(
        read(by_name.clone()),
        [(BEGIN, Value::Integer(1)), (BEGIN + 60, Value::Integer(2))]
    );
    assert_eq!(read(by_uid), [(BEGIN + 60, Value::Integer(2))]);
    let mut budget = Budget::default();
    let seen =
        store.lives(&Selection::Pod(namespace, None), Tick(BEGIN), Tick(BEGIN + 59), &mut budget);
    let seen: Vec<Arc<Life>> = seen.unwrap().into_iter().map(|seen| seen.life).collect();
    assert_eq!(seen.len(), 1, "u-2 came later: {seen:?}");
    let names = store.metrics(&by_name, Tick(BEGIN), Tick(BEGIN + DAY), &mut budget).unwrap();
    assert_eq!(names.iter().map(MetricName::as_str).collect::<Vec<_>>(), ["memory/usage"]);
}

#[test]
fn a_series_whose_ticks_are_not_those_of_most_is_found_by_them() {
    let store = open(&SimulatedDisk::default());
    let of = |name: &str, points: &[(u64, i64)]| {
        row(pod("web", "u-1", Some("app")), metric(name, false, false), points)
    };
    let early = [(BEGIN, 1), (BEGIN + 60, 2)];
    let rows = ["memory/rss", "memory/cache", "memory/swap"].map(|name| of(name, &early));
    let late = of("memory/usage", &[(BEGIN + 120, 3), (BEGIN + 180, 4)]);
    store.write(rows.into_iter().chain([late]).collect()).unwrap();
    let asked = question(app(), "memory/usage", BEGIN + 120, BEGIN + 130);
    assert_eq!(points(&store, &asked, 1), [(BEGIN + 120, Value::Integer(3))]);
    let seen = store.lives(&app(), Tick(BEGIN), Tick(BEGIN + DAY), &mut Budget::default()).unwrap();
    let ends: Vec<(Tick, Tick)> = seen.iter().map(|seen| (seen.first, seen.last)).collect();
    assert_eq!(ends, [(Tick(BEGIN), Tick(BEGIN + 180))]);
}

#[test]
fn a_percentile_is_the_value_of_the_nearest_rank() {
    let store = open(&SimulatedDisk::default());
    let twelve: Vec<(u64, i64)> =
        (1..=12).zip(1..).map(|(at, value)| (BEGIN + at, value)).collect();
    store.write(vec![usage(&twelve)]).unwrap();
    let percentiles = |first, last| {
        let asked = question(app(), "memory/usage", BEGIN + first, BEGIN + last);
        let buckets = store.aggregate(&asked, None, &[], &mut Budget::default()).unwrap();
        [50, 95, 99].map(|percent| buckets[0].percentile(percent).unwrap())
    };
    assert_eq!(percentiles(1, 12), [6, 11, 12].map(Value::Integer), "as recorded of Heapster");
    assert_eq!(percentiles(1, 3), [2, 3, 3].map(Value::Integer));
    assert_eq!(percentiles(1, 1), [1, 1, 1].map(Value::Integer));
}

#[test]
fn an_answer_that_is_too_large_says_so() {
    let store = open(&SimulatedDisk::default());
    script().iter().for_each(|step| step.apply(&store).unwrap());
    let all = question(app(), "memory/usage", BEGIN, BEGIN + 2 * DAY);
    let refused = store.series(&all, 60, &[], &mut Budget::new(1 << 20, 1000)).unwrap_err();
    assert!(refused.to_string().starts_with("the answer needs more than 1000 points"), "{refused}");
    let refused = store.series(&all, 60, &[], &mut Budget::new(100, 1 << 20)).unwrap_err();
    assert!(refused.to_string().starts_with("the answer needs more than 100 bytes"), "{refused}");
    let second = NonZeroU64::new(1000);
    let refused = store.aggregate(&all, second, &[], &mut Budget::default()).unwrap_err();
    assert!(refused.to_string().contains("50000 buckets"), "{refused}");
}

#[test]
fn what_comes_late_is_in_answers_at_once_and_in_the_tiers_after_merging() {
    let store = open(&SimulatedDisk::default());
    store.write(vec![usage(&[(BEGIN, 5), (BEGIN + 60, 7)])]).unwrap();
    merge_all(&store, BEGIN + 2 * DAY).unwrap();
    let greatest = |store: &Store| {
        let asked = question(app(), "memory/usage", BEGIN, BEGIN + DAY - 1);
        let buckets =
            store.clone_for_tiers().aggregate(&asked, None, &[], &mut Budget::default()).unwrap();
        (buckets[0].count(), buckets[0].greatest().unwrap().0, buckets[0].is_exact())
    };
    assert_eq!(greatest(&store), (2, Value::Integer(7), false));
    store.write(vec![usage(&[(BEGIN + 60, 8), (BEGIN + 120, 9)])]).unwrap();
    assert_eq!(greatest(&store), (3, Value::Integer(9), true));
    merge_all(&store, BEGIN + 3 * DAY).unwrap();
    assert_eq!(greatest(&store), (3, Value::Integer(9), false));
    // When raw values are gone, late ones are added to what the tiers hold.
    let keep = Retention { raw_s: DAY, five_minutes_s: 9 * DAY, hour_s: 9 * DAY, bytes: u64::MAX };
    store.drop_old(Tick(BEGIN + 3 * DAY), keep).unwrap();
    store.write(vec![usage(&[(BEGIN + 600, 4)])]).unwrap();
    assert_eq!(greatest(&store), (3, Value::Integer(9), false));
    merge_all(&store, BEGIN + 4 * DAY).unwrap();
    assert_eq!(greatest(&store), (4, Value::Integer(9), false));
}

impl Store {
    /// The same files, read from coarser tiers wherever they fit.
    fn clone_for_tiers(&self) -> Store {
        let (store, _) = Store::open(Arc::clone(&self.disk), Cache::default()).unwrap();
        store.with_exact_values(0)
    }
}

fn near(found: f64, exact: f64) -> bool {
    (found - exact).abs() <= exact.abs() * 0.0101 + 0.51
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn aggregations_are_those_of_a_plain_calculation(
        numbers in prop::collection::vec((0u64..2 * DAY / 60, -50_000i64..1_000_000), 1..400),
        (begin, length) in (0u64..2 * DAY, 1u64..2 * DAY),
        bucket_s in prop_oneof![Just(None), Just(Some(90)), Just(Some(300)), Just(Some(7200))],
        is_merged: bool,
    ) {
        let store = open(&SimulatedDisk::default());
        let mut plain = BTreeMap::new();
        for part in numbers.chunks(50) {
            let part: BTreeMap<u64, i64> =
                part.iter().map(|(minute, value)| (BEGIN + minute * 60, *value)).collect();
            plain.extend(part.clone());
            store.write(vec![usage(&part.into_iter().collect::<Vec<_>>())]).unwrap();
        }
        if is_merged {
            merge_all(&store, BEGIN + 5 * DAY).unwrap();
        }
        let asked = question(app(), "memory/usage", BEGIN + begin, BEGIN + begin + length);
        let bucket_ms = bucket_s.and_then(|seconds: u64| NonZeroU64::new(seconds * 1000));
        let mut expected: BTreeMap<u64, Vec<i64>> = BTreeMap::new();
        for (tick, value) in plain.range(asked.first.0..=asked.last.0) {
            let start = bucket_s.map_or(asked.first.0, |size| tick / size * size) * 1000;
            expected.entry(start).or_default().push(*value);
        }
        for store in [store.clone_for_tiers(), store] {
            let buckets = store.aggregate(&asked, bucket_ms, &[], &mut Budget::default()).unwrap();
            prop_assert_eq!(buckets.len(), expected.len());
            for (bucket, (start, values)) in buckets.iter().zip(&expected) {
                let mut values = values.clone();
                values.sort_unstable();
                let count = values.len();
                prop_assert_eq!((bucket.start_ms, bucket.count()), (*start, count as u64));
                let sum: i64 = values.iter().sum();
                prop_assert!((bucket.average().unwrap() - sum as f64 / count as f64).abs() < 1e-6);
                prop_assert_eq!(bucket.least().unwrap().0, Value::Integer(values[0]));
                prop_assert_eq!(bucket.greatest().unwrap().0, Value::Integer(values[count - 1]));
                let median = (values[(count - 1) / 2] + values[count / 2]) as f64 / 2.0;
                for percent in [50, 95, 99] {
                    let exact = values[((count * percent + 50) / 100).max(1) - 1];
                    let found = bucket.percentile(percent as u64).unwrap();
                    if bucket.is_exact() {
                        prop_assert_eq!(found, Value::Integer(exact));
                    }
                    prop_assert!(near(found.as_f64(), exact as f64), "{found:?}, not {exact}");
                }
                let found = bucket.median().unwrap();
                prop_assert!(!bucket.is_exact() || found == median);
                let ends = values[(count - 1) / 2].unsigned_abs().max(values[count / 2].unsigned_abs());
                prop_assert!((found - median).abs() <= ends as f64 * 0.0101 + 0.51);
            }
        }
    }
}

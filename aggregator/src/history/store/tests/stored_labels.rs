//! Labels that are stored beside numbers change no answer, and are found with their ticks.

use super::*;
use crate::history::{
    file::{PLAIN_VERSION, VERSION},
    join::join_rows,
};

const HOUR: u64 = 3_600;

/// An entity with a gauge, a counter and when it was read, every minute.
fn measured(who: Who, ticks: impl Iterator<Item = u64> + Clone, salt: i64) -> Row {
    let timeline = Arc::new(Timeline::of(ticks.clone().map(Tick)));
    let series = |what: What, value: &dyn Fn(i64) -> i64| Series {
        what: Arc::new(what),
        timeline: Arc::clone(&timeline),
        values: ticks.clone().map(|tick| value((tick - BEGIN) as i64)).collect(),
        sketches: Vec::new(),
    };
    let mut series = vec![
        series(What::ReadOffset, &|after| after % 1000),
        series(metric("memory/usage", false, false), &|after| after * after % 977 * 4096 + salt),
        series(metric("cpu/usage", true, false), &|after| after * after * 1000),
    ];
    series.sort_by(|a, b| a.what.cmp(&b.what));
    Row { life: Arc::new(Life { who, start: Some(UnixMs(7)) }), series }
}

fn app_labels(value: &str) -> What {
    What::StoredLabels(Labels::new([("app", value)]).unwrap())
}

/// Which label the entities have at a tick: it changes within a bucket, and in the end there is none.
fn label_at(tick: u64) -> Option<&'static str> {
    match tick - BEGIN {
        0..19_000 => Some("a"),
        19_000..100_000 => Some("b"),
        _ => None,
    }
}

/// The same row, with the labels that `label` gives.
fn labelled(mut row: Row, label: impl Fn(u64) -> Option<&'static str>) -> Row {
    let mut ticks: BTreeMap<&str, Vec<Tick>> = BTreeMap::new();
    for tick in row.series[0].timeline.iter() {
        if let Some(label) = label(tick.0) {
            ticks.entry(label).or_default().push(tick);
        }
    }
    for (value, ticks) in ticks {
        let values = vec![0; ticks.len()];
        let timeline = Arc::new(Timeline::of(ticks));
        let what = Arc::new(app_labels(value));
        row.series.push(Series { what, timeline, values, sketches: Vec::new() });
    }
    row.series.sort_by(|a, b| a.what.cmp(&b.what));
    row
}

/// A pod's container, its pod and a node over two days, with some of it written once more.
fn two_days(is_labelled: bool) -> Vec<Step> {
    let node = NodeName::parse("node-a").unwrap();
    let everybody = [pod("web", "u-1", None), pod("web", "u-1", Some("app")), Who::Node(node)];
    let rows = |from: u64, to: u64, salt: i64| {
        let row = |who: &Who| {
            let ticks = (BEGIN + from * HOUR..BEGIN + to * HOUR).step_by(60);
            let row = measured(who.clone(), ticks, salt);
            if is_labelled { labelled(row, label_at) } else { row }
        };
        Step::Write(everybody.iter().map(row).collect())
    };
    let mut steps: Vec<Step> = (0..12).map(|span| rows(span * 4, span * 4 + 4, 0)).collect();
    steps.insert(6, Step::Merge(BEGIN + 25 * HOUR));
    steps.extend([rows(5, 6, 1), rows(30, 31, 1), Step::Merge(BEGIN + 5 * DAY)]);
    steps
}

fn done(steps: &[Step]) -> (SimulatedDisk, Store) {
    let disk = SimulatedDisk::default();
    let store = open(&disk);
    steps.iter().for_each(|step| step.apply(&store).unwrap());
    (disk, store)
}

/// Everything that the historical API asks of a store, as text.
fn answers(store: &Store) -> Vec<String> {
    let mut said = Vec::new();
    let node = Selection::Node(Some(NodeName::parse("node-a").unwrap()));
    let uid = PodUid::parse("u-1").unwrap();
    let budget = &mut Budget::default();
    for of in [app(), node, Selection::PodByUid(uid.clone()), Selection::ContainerByUid(uid, None)]
    {
        for (first, last) in [(0, 48), (4, 7), (5, 5), (26, 29), (47, 60)] {
            let (first, last) = (BEGIN + first * HOUR, BEGIN + last * HOUR);
            let (from, to) = (Tick(first), Tick(last));
            said.push(format!("{:?}", store.lives(&of, from, to, budget).unwrap()));
            said.push(format!("{:?}", store.metrics(&of, from, to, budget).unwrap()));
            for metric in ["memory/usage", "cpu/usage", "cpu/usage_rate", "uptime"] {
                let asked = question(of.clone(), metric, first, last);
                for step_s in [1, 300, 3600] {
                    said.push(format!("{:?}", points(store, &asked, step_s)));
                }
                for bucket_ms in [None, NonZeroU64::new(300_000), NonZeroU64::new(7_200_000)] {
                    let buckets = store.aggregate(&asked, bucket_ms, &[], budget).unwrap();
                    let shown = buckets.iter().map(|bucket| {
                        let percentiles = [50, 95, 99].map(|percent| bucket.percentile(percent));
                        let (start, count) = (bucket.start_ms, bucket.count());
                        let ends = (bucket.least(), bucket.greatest());
                        format!("{start} {count} {ends:?} {:?} {percentiles:?}", bucket.average())
                    });
                    said.push(shown.collect::<Vec<_>>().join("\n"));
                }
            }
        }
    }
    said
}

#[test]
fn every_answer_is_as_if_no_label_were_stored_and_none_had_changed() {
    let (plain, labelled) = (two_days(false), two_days(true));
    for steps in [4, 6, 7, plain.len() - 1, plain.len()] {
        let [(_, plain), (_, labelled)] = [&plain, &labelled].map(|all| done(&all[..steps]));
        let said = answers(&plain);
        assert!(said.iter().any(|one| 1000 < one.len()));
        assert!(answers(&labelled) == said, "after {steps} steps");
        let tiers = [plain, labelled].map(|store| answers(&store.clone_for_tiers()));
        assert!(tiers[0] == tiers[1], "of tiers, after {steps} steps");
    }
}

/// The first tick and the number of ticks of each label.
fn labels_of(row: &Row) -> Vec<(Arc<What>, Tick, usize)> {
    let of =
        |one: &Series| (Arc::clone(&one.what), one.timeline.first().unwrap(), one.timeline.len());
    row.stored_labels().map(of).collect()
}

#[test]
fn labels_are_found_with_their_ticks_whatever_was_merged() {
    let steps = two_days(true);
    let expected = [(app_labels("a"), 0, 317), (app_labels("b"), 19_020, 1350)];
    let expected =
        expected.map(|(what, first, ticks)| (Arc::new(what), Tick(BEGIN + first), ticks));
    for steps in [&steps[..steps.len() - 1], &steps] {
        let (_, store) = done(steps);
        let all = (Tick(BEGIN), Tick(BEGIN + 2 * DAY));
        let rows = store.rows(&app(), all.0, all.1, &mut Budget::default()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(labels_of(&rows[0]), expected);
        assert!(store.files().values().all(|file| file.verify().is_ok()));
    }
}

#[test]
fn a_tick_has_the_labels_that_were_written_last() {
    let row = |from: u64, to: u64, label: &'static str| {
        let ticks = (BEGIN + from..BEGIN + to).step_by(60);
        labelled(measured(pod("web", "u-1", None), ticks, 0), |_| Some(label))
    };
    let parts = vec![row(0, 600, "b"), row(120, 300, "a"), row(240, 900, "c")];
    let joined = labels_of(&join_rows(parts).unwrap());
    let found = |value: &str| {
        let of = joined.iter().find(|(what, ..)| **what == app_labels(value)).unwrap();
        (of.1.0 - BEGIN, of.2)
    };
    assert_eq!([found("a"), found("b"), found("c")], [(120, 2), (0, 2), (240, 11)]);
    let parts = vec![row(0, 600, "b"), row(0, 600, "a")];
    assert_eq!(labels_of(&join_rows(parts).unwrap()).len(), 1);
}

fn version(disk: &SimulatedDisk, name: FileName) -> u32 {
    let mut version = [0; 4];
    disk.open(&name.to_string()).unwrap().read_at(8, &mut version).unwrap();
    u32::from_le_bytes(version)
}

#[test]
fn only_a_file_with_stored_labels_is_refused_by_older_programs() {
    let versions = |steps: &[Step]| {
        let (disk, store) = done(steps);
        let files = store.files();
        let of = |name: &FileName| (name.tier, name.window.0 - 20_000, version(&disk, *name));
        files.keys().map(of).collect::<Vec<_>>()
    };
    let plain = versions(&two_days(false));
    assert!(plain.iter().all(|(.., version)| *version == PLAIN_VERSION));
    // The first day is merged. Of the spans of the second the last five have no label any more.
    let steps = two_days(true);
    let spans: Vec<u32> = versions(&steps[..13]).iter().map(|(.., version)| *version).collect();
    assert_eq!(spans, [2, 2, 1, 1, 1, 1, 1, 2, 2]);
    let merged = versions(&steps);
    assert_eq!(merged.len(), 6);
    assert!(merged.iter().all(|(.., version)| *version == VERSION), "{merged:?}");
}

#[test]
fn stored_labels_are_no_series_and_no_samples() {
    let (_, plain) = done(&two_days(false));
    let counted = |store: &Store| {
        let (cache, mut budget) = (Cache::new(0), Budget::unlimited());
        let mut counted = Vec::new();
        for file in store.files().values() {
            let index = file.index(&cache, &mut budget).unwrap();
            for (place, block) in index.blocks.iter().enumerate() {
                let open = file.block(place, block, &cache, &mut budget).unwrap();
                let rows = 0..open.names.rows.len();
                counted.extend(rows.map(|row| open.count_series(row, &mut budget).unwrap()));
            }
            counted.push(usize::try_from(index.samples).unwrap());
        }
        counted
    };
    assert_eq!(counted(&done(&two_days(true)).1), counted(&plain));
    // More sets of labels than the first bytes of a section say.
    let store = open(&SimulatedDisk::default());
    let names: Vec<String> = (0..200).map(|number| format!("web-{number}")).collect();
    let names: &'static [String] = names.leak();
    let row = measured(pod("web", "u-1", None), (0..200).map(|n| BEGIN + n * 60), 0);
    let row = labelled(row, |tick| Some(&names[((tick - BEGIN) / 60) as usize]));
    store.write(vec![row]).unwrap();
    assert_eq!(counted(&store), [2, 400]);
}

#[test]
fn a_crash_at_any_step_loses_no_label() {
    let rows = |from: u64, label: &'static str| {
        let ticks = (BEGIN + from * HOUR..BEGIN + (from + 1) * HOUR).step_by(300);
        Step::Write(vec![labelled(measured(pod("web", "u-1", None), ticks, 0), |_| Some(label))])
    };
    let script = [rows(0, "a"), rows(1, "b"), rows(25, "b"), Step::Merge(BEGIN + 5 * DAY)];
    crash_at_any_step(&script, 6);
}

#[test]
fn what_is_left_out_is_counted_once() {
    let store = open(&SimulatedDisk::default());
    let mut full = measured(pod("web-1", "u1", None), [BEGIN].into_iter(), 0);
    let timeline = Arc::clone(&full.series[0].timeline);
    full.series.extend((0..1_003).map(|number| {
        let what = Arc::new(app_labels(&format!("{number:04}")));
        Series { what, timeline: Arc::clone(&timeline), values: vec![0], sketches: Vec::new() }
    }));
    full.series.sort_by(|a, b| a.what.cmp(&b.what));
    assert_eq!(store.write(vec![full]).unwrap(), 2);
    assert_eq!((store.take_left_out(), store.take_left_out()), (3, 0));
}

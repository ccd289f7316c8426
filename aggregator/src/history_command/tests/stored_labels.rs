//! Exports of the same numbers with and without stored labels.

use super::*;

/// When the label changes: within a bucket of both tiers.
const CHANGE: u64 = BEGIN + 13 * 3600 + 700;

/// The same as [`rows`]; the pod and its containers have a label, which changes.
fn labelled(ticks: std::ops::Range<u64>, salt: u64) -> Vec<Row> {
    let mut rows = rows(ticks, salt);
    for row in rows.iter_mut().filter(|row| row.life.who.in_pod().is_some()) {
        let ticks: Vec<Tick> = row.series[0].timeline.iter().collect();
        let (web, shop): (Vec<Tick>, Vec<Tick>) = ticks.iter().partition(|tick| tick.0 < CHANGE);
        for (value, ticks) in [("web", web), ("shop", shop)] {
            let labels = Labels::new([("app.io/name", value)]).unwrap();
            let (values, timeline) = (vec![0; ticks.len()], Arc::new(Timeline::of(ticks)));
            let what = Arc::new(What::StoredLabels(labels));
            if !timeline.is_empty() {
                row.series.push(Series { what, timeline, values, sketches: Vec::new() });
            }
        }
        row.series.sort_by(|a, b| a.what.cmp(&b.what));
    }
    rows
}

fn write(folder: &Path, rows: impl Fn(std::ops::Range<u64>, u64) -> Vec<Row>) {
    let directory = Directory::take(folder, std::process::id()).unwrap();
    let (store, _) = Store::open(Arc::new(directory), Cache::default()).unwrap();
    for (ticks, salt) in [(0..200, 0), (200..TICKS, 0), (100..180, 9)] {
        store.write(rows(ticks, salt)).unwrap();
    }
    while store.merge(Tick(BEGIN + DAY + 3700), || u64::MAX).unwrap().is_some() {}
    // Late, beside what is merged.
    store.write(rows(10..12, 5)).unwrap();
}

fn both() -> [tempfile::TempDir; 2] {
    let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
    write(folders[0].path(), rows);
    write(folders[1].path(), labelled);
    folders
}

/// Lines without the stored labels, sorted; and with which of the two each line of a pod was, by time.
fn without_labels(text: &str, forms: [&str; 2]) -> (Vec<String>, BTreeMap<String, usize>) {
    let mut counts = BTreeMap::new();
    let mut lines = Vec::new();
    for line in text.lines() {
        let mut line = line.to_owned();
        for form in forms {
            // Behind a metric's own labels there is a comma before.
            for form in [format!(",{form}").as_str(), form] {
                let own =
                    form.starts_with(',') == (line.contains("resource_id") || form.contains('"'));
                if own && line.contains(form) {
                    line = line.replacen(form, "", 1);
                    *counts.entry(form.trim_start_matches(',').to_owned()).or_default() += 1;
                }
            }
        }
        // A text of one label is not in quotes.
        lines.push(line.replace('"', ""));
    }
    lines.sort();
    (lines, counts)
}

#[test]
fn text_has_the_same_numbers_with_the_labels_of_their_time() {
    let folders = both();
    let csv = ["app.io/name=web", "app.io/name=shop"];
    let openmetrics = [r#"app_io_name="web""#, r#"app_io_name="shop""#];
    for tier in ["raw", "5m", "1h"] {
        for (format, forms) in [("csv", csv), ("openmetrics", openmetrics)] {
            let export = ["export", "--format", format, "--tier", tier];
            let [plain, labelled] = [0, 1].map(|one| ok(folders[one].path(), &export));
            let (lines, counts) = without_labels(&labelled, forms);
            assert!(lines == without_labels(&plain, forms).0, "{tier} {format}");
            let of_pods = plain.lines().filter(|line| line.contains("u-1")).count();
            assert!(0 < of_pods && counts.values().sum::<usize>() == of_pods, "{counts:?}");
            assert_eq!(counts.len(), 2);
        }
    }
    // In the hour of the change are both, and it has that of its end.
    let asked = ["export", "--format", "csv", "--metric", "memory/usage", "--kind", "pod"];
    for (tier, of_web) in [("raw", 159), ("5m", 159), ("1h", 13)] {
        let out = ok(folders[1].path(), &[&asked[..], &["--tier", tier]].concat());
        let lines = out.lines().filter(|line| line.contains(",app.io/name=web,"));
        let each = if tier == "raw" { 1 } else { 4 };
        assert_eq!(lines.count(), of_web * each, "{tier}");
    }
}

#[test]
fn an_openmetrics_series_has_one_set_of_labels_and_is_in_one_piece() {
    let [_, folder] = both();
    let out = ok(folder.path(), &["export", "--metric", "memory/usage", "--kind", "pod"]);
    let of_series = |line: &str| line.rsplitn(3, ' ').nth(2).unwrap().to_owned();
    let lines = out.lines().filter(|line| !line.starts_with('#'));
    let mut series: Vec<String> = lines.map(of_series).collect();
    series.dedup();
    let name = "tally_memory_usage_bytes";
    let pod = r#"kind="pod",node="node-a",namespace="default",pod="web",pod_uid="u-1""#;
    let of = |app: &str| format!("{name}{{{pod},app_io_name=\"{app}\"}}");
    assert_eq!(series, [of("shop"), of("web")]);
}

#[test]
fn parquet_has_them_where_labels_of_metrics_are() {
    let [_, folder] = both();
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("some.parquet");
    let export = ["export", "--format", "parquet", "--output", file.to_str().unwrap()];
    ok(folder.path(), &[&export[..], &["--metric", "filesystem/usage", "--kind", "pod"]].concat());
    let reader = SerializedFileReader::new(File::open(&file).unwrap()).unwrap();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in reader.get_row_iter(None).unwrap() {
        let row: BTreeMap<String, Cell> = row.unwrap().into_columns().into_iter().collect();
        let Cell::Str(labels) = &row["labels"] else { panic!("{row:?}") };
        *counts.entry(labels.clone()).or_default() += 1;
    }
    let other = TICKS - 159;
    let expected = [
        (r#"resource_id=/,app.io/name=shop"#, other),
        (r#"resource_id=/,app.io/name=web"#, 159),
        (r#"resource_id=/a\,b\="c\\,app.io/name=shop"#, other),
        (r#"resource_id=/a\,b\="c\\,app.io/name=web"#, 159),
    ];
    assert_eq!(counts, expected.map(|(labels, count)| (labels.to_owned(), count)).into());
}

#[test]
fn looking_and_checking_see_the_same_numbers() {
    let folders = both();
    let [plain, labelled] = [0, 1].map(|one| {
        assert!(ok(folders[one].path(), &["verify"]).ends_with("no faults\n"));
        let json = ok(folders[one].path(), &["inspect", "--json"]);
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        let numbers = ["files", "samples", "entities", "rows", "series"];
        [0, 1, 2].map(|tier| numbers.map(|number| json["tiers"][tier][number].clone()))
    });
    assert!(plain[0].iter().all(|number| number.as_u64().is_some_and(|number| 0 < number)));
    assert_eq!(labelled, plain);
}

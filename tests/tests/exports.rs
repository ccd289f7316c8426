//! Exports of history, read by programs of others: the OpenMetrics parser of Prometheus' client and
//! pyarrow, which `tests/setup/install-readers` installs.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{fs, path::Path, process::Command, sync::Arc};

use clap::Parser;
use tally_aggregator::{
    history::{
        cache::Cache,
        disk::real::Directory,
        series::{Row, Series, What},
        store::Store,
    },
    history_command::{self, Streams},
    settings::{self, Flags},
};
use tally_proto::{metric::Labels, tick::Tick};
use tally_tests::{
    history::{recorded, swarm::Player},
    readers::python,
    skip::skip,
    swarm::shape::{NAMESPACES, Shape},
};

/// A day of two nodes with what their pods do, and its coarser tiers. Pods have labels, which change
/// at noon.
fn write(folder: &Path) {
    let directory = Directory::take(folder, 1).unwrap();
    let (store, _) = Store::open(Arc::new(directory), Cache::default()).unwrap();
    let shape = Shape {
        seed: 3,
        nodes: 2,
        pods: 3,
        containers: 2,
        free_containers: 2,
        namespaces: NAMESPACES,
        metrics: 15,
        churn_ppm: 0,
        resolution_s: 300,
    };
    let mut player = Player::new(shape, 1, Tick(recorded::BEGIN)).unwrap();
    for value in ["web", "\"kiosk\" \\ 2"] {
        let mut rows = player.rows(144).unwrap();
        let labels = Labels::new([("app.kubernetes.io/name", value), ("9", "x")]).unwrap();
        let what = Arc::new(What::StoredLabels(labels));
        rows.iter_mut().for_each(|row| store_labels(row, &what));
        store.write(rows).unwrap();
    }
    while store.merge(Tick(recorded::BEGIN + 2 * 86_400), || u64::MAX).unwrap().is_some() {}
}

/// Gives a pod or one of its containers stored labels at all of its ticks.
fn store_labels(row: &mut Row, what: &Arc<What>) {
    let Some(first) = row.series.first().filter(|_| row.life.who.in_pod().is_some()) else {
        return;
    };
    let (what, timeline) = (Arc::clone(what), Arc::clone(&first.timeline));
    let values = vec![0; timeline.len()];
    row.series.push(Series { what, timeline, values, sketches: Vec::new() });
    row.series.sort_by(|a, b| a.what.cmp(&b.what));
}

fn export(history: &Path, tier: &str, format: &str, to: &Path) {
    let (history, to) = (history.to_str().unwrap(), to.to_str().unwrap());
    let arguments = ["tally-aggregator", "history", "export", "--history-dir", history];
    let asked = ["--format", format, "--tier", tier, "--output", to];
    let flags = Flags::parse_from(arguments.iter().chain(&asked));
    let Some(settings::Command::History(asked)) = flags.command else { panic!("no command") };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let mut streams = Streams { out: &mut out, notes: &mut notes, is_watched: false };
    history_command::run(&asked, &mut streams).unwrap();
}

#[test]
fn others_read_the_samples_that_are_exported() {
    let Some(python) = python("prometheus_client, pyarrow") else {
        skip("no readers of exports: run tests/setup/install-readers first");
        return;
    };
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/check");
    let (history, exports) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    write(history.path());
    for tier in ["raw", "1h"] {
        let files = ["csv", "parquet", "openmetrics"].map(|format| {
            let file = exports.path().join(format!("{tier}.{format}"));
            export(history.path(), tier, format, &file);
            file
        });
        assert!(fs::read_to_string(&files[0]).unwrap().contains(",app.kubernetes.io/name=web"));
        let checked = Command::new(&python).arg(&check).args(&files).output().unwrap();
        let said = String::from_utf8_lossy(&checked.stdout);
        let complaint = String::from_utf8_lossy(&checked.stderr);
        assert!(checked.status.success(), "{tier}: {said}{complaint}");
        println!("{tier}: {said}");
    }
}

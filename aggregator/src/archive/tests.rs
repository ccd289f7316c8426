//! What can't be read holds up nothing for ever.

use std::{sync::Arc, time::Duration};

use tally_proto::{
    metric::{Labels, MetricName},
    name::NodeName,
    tick::{Resolution, Tick},
};

use super::{
    kept::{Kept, Patience},
    seal::{SealError, first_write, segment_after},
    upkeep::{Archive, Limits, OpenError},
};
use crate::{
    history::{
        cache::Cache,
        disk::{Disk, simulated::SimulatedDisk},
        error::HistoryError,
        life::{Life, Who},
        selection::Selection,
        series::{Field, Quantity, Row, Series, What},
        store::{Retention, Store},
        timeline::Timeline,
    },
    journal::{
        Committer, Span, StreamMark, WAITING_MOST,
        segment::{SegmentName, SegmentNumber, SegmentState},
    },
};

const SPAN: Span =
    Span { longest: Duration::MAX, longest_with_late: Duration::MAX, bytes: u64::MAX };

const LIMITS: Limits = Limits {
    retention: Retention {
        raw_s: 1 << 30,
        five_minutes_s: 1 << 30,
        hour_s: 1 << 30,
        bytes: 1 << 40,
    },
    waiting_most: WAITING_MOST,
};

fn try_open(disk: &SimulatedDisk) -> Result<(Archive, Vec<SegmentName>), OpenError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let (store, _) = Store::open(Arc::clone(&disk), Cache::default())?;
    Archive::open(disk, Arc::new(store), Resolution::DEFAULT, LIMITS)
}

/// Closes a segment that says nothing.
fn close_segment(archive: &Archive, committer: &mut Committer) {
    archive.journal().append(&mut StreamMark::default(), None, |_, _| (), |_, out| out.push(0));
    archive.close(committer.close(Duration::ZERO).unwrap().closed.unwrap());
}

fn frames(number: u64) -> SegmentName {
    SegmentName { number: SegmentNumber(number), state: SegmentState::Frames }
}

#[test]
fn a_segment_that_cannot_be_read_is_set_aside_and_the_next_become_history() {
    let disk = SimulatedDisk::default();
    let (archive, _) = try_open(&disk).unwrap();
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut committer = Committer::new(on, Arc::clone(archive.journal()), SPAN);
    close_segment(&archive, &mut committer);
    close_segment(&archive, &mut committer);
    disk.set_unreadable(&frames(1).to_string());
    for patience in [Patience::Waits, Patience::GivesUp] {
        assert!(matches!(archive.seal_next(patience), Err(SealError::Segment(_))));
    }
    let aside = archive.set_aside_next().unwrap().unwrap();
    assert_eq!(aside.to_string(), "journal-000000000001-aside.tally");
    assert!(archive.seal_next(Patience::Waits).unwrap().is_some());
    assert_eq!(archive.seal_next(Patience::Waits).unwrap(), None);

    // It stays where it is, nobody reads it, and its number is not given again.
    let kept = SegmentName { state: SegmentState::Kept, ..frames(2) };
    assert_eq!(try_open(&disk).unwrap().1, [kept]);
    disk.remove(&kept.to_string()).unwrap();
    let (archive, segments) = try_open(&disk).unwrap();
    assert_eq!(segments, []);
    // The budget of bytes knows of it.
    let held = archive.journal_held();
    assert_eq!((held.segments, held.unsealed), (1, 0));
    assert!(0 < held.bytes);
    let on: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut committer = Committer::new(on, Arc::clone(archive.journal()), SPAN);
    close_segment(&archive, &mut committer);
    assert!(disk.list().unwrap().contains(&frames(2).to_string()));
    assert!(disk.list().unwrap().contains(&aside.to_string()));
}

#[test]
fn a_journal_of_a_newer_version_is_refused_by_name() {
    let disk = SimulatedDisk::default();
    disk.create(&frames(7).to_string()).unwrap().append(b"tallyjnl\x63\0\0\0").unwrap();
    let error = try_open(&disk).unwrap_err().to_string();
    assert!(error.starts_with("journal-000000000007.tally has format 99"), "{error}");
}

#[test]
fn history_that_cannot_be_read_is_taken_for_nothing_only_when_it_is_given_up() {
    let disk = SimulatedDisk::default();
    let who = Who::Node(NodeName::parse("a").unwrap());
    let (store, _) = Store::open(Arc::new(disk.clone()), Cache::default()).unwrap();
    let quantity = Quantity {
        metric: MetricName::parse("memory/usage").unwrap(),
        labels: Labels::none(),
        field: Field::Value,
        floating: false,
        cumulative: false,
    };
    let series = Series {
        what: Arc::new(What::Metric(quantity)),
        timeline: Arc::new(Timeline::of([Tick(15)])),
        values: vec![1],
        sketches: Vec::new(),
    };
    let life = Arc::new(Life { who: who.clone(), start: None });
    store.write(vec![Row { life, series: vec![series] }]).unwrap();
    let of = |patience| Kept::before(&store, u64::MAX, patience);
    assert!(of(Patience::Waits).has_tick(&who, Tick(15)).unwrap());
    assert!(!Kept::before(&store, 1, Patience::Waits).has_tick(&who, Tick(15)).unwrap());

    // Its names, right behind its head.
    let name = disk.list().unwrap().into_iter().next().unwrap();
    disk.corrupt(&name, 14);
    let error = of(Patience::Waits).has_tick(&who, Tick(15)).unwrap_err();
    assert!(matches!(error, HistoryError::Damaged { .. }), "{error}");
    let mut gives_up = of(Patience::GivesUp);
    assert!(!gives_up.has_tick(&who, Tick(15)).unwrap());
    let selection = Selection::of(&who);
    assert_eq!(gives_up.rows(&selection, Tick(0), Tick(15)).unwrap(), []);
    assert_eq!(gives_up.given_up, 2);
}

#[test]
fn writes_of_a_segment_lie_between_those_of_its_neighbours() {
    for number in [1, 7, 1 << 40].map(SegmentNumber) {
        let next = SegmentNumber(number.0 + 1);
        assert_eq!(segment_after(first_write(number) + 1), next);
        assert_eq!(segment_after(first_write(next)), next);
        assert!(first_write(number) < first_write(next));
    }
}

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tally_proto::{
    message::{BootId, Hello, PackedFrame, Run, Sequence},
    name::NodeName,
    record::End,
    tick::Resolution,
};

use super::{
    entry::{Entry, Standing, push_begin, push_frame},
    segment::{list, read},
    *,
};
use crate::history::disk::simulated::SimulatedDisk;

const SPAN: Span = Span {
    longest: Duration::from_secs(100),
    longest_with_late: Duration::from_secs(20),
    samples: 1_000,
};

/// Bytes that may wait.
const ROOM: usize = 1 << 20;

fn hello(node: &str) -> Hello {
    Hello {
        node: NodeName::parse(node).unwrap(),
        boot: BootId([1; 16]),
        run: Run(7),
        resolution: Resolution::DEFAULT,
        agent_version: "test".to_owned(),
    }
}

fn frame(sequence: u64) -> PackedFrame {
    let columns = Bytes::from(sequence.to_le_bytes().to_vec());
    PackedFrame { sequence: Sequence(sequence), tick: Tick(sequence * 15), columns }
}

fn append(journal: &Journal, node: &str, stream: &mut StreamMark, sequence: u64) -> Position {
    let tick = Tick(sequence * 15);
    journal.append(
        stream,
        Some(Addition { tick, samples: 10, is_late: false }),
        |number, out| push_begin(number, &hello(node), out).unwrap(),
        |number, out| push_frame(number, &frame(sequence), Standing::New, out).unwrap(),
    )
}

fn new(disk: &SimulatedDisk) -> (Arc<Journal>, Committer) {
    let journal = Arc::new(Journal::new(SegmentNumber(1), ROOM));
    let committer = Committer::new(Arc::new(disk.clone()), Arc::clone(&journal), SPAN);
    (journal, committer)
}

/// What a disk's segments say: node and sequence of each frame, by segment.
fn said(disk: &SimulatedDisk) -> Vec<Vec<(String, u64)>> {
    let mut all = Vec::new();
    for name in list(disk).unwrap() {
        let mut nodes = std::collections::HashMap::new();
        let mut found = Vec::new();
        read(disk, name, |stream, entry| match entry {
            Entry::Begin(hello) => {
                nodes.insert(stream, hello.node.to_string());
            }
            Entry::Frame(frame, _) => found.push((nodes[&stream].clone(), frame.sequence.0)),
            _ => (),
        })
        .unwrap();
        all.push(found);
    }
    all
}

#[test]
fn what_is_committed_is_read_back_and_each_segment_begins_anew() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let (mut a, mut b) = (StreamMark::default(), StreamMark::default());
    append(&journal, "a", &mut a, 1);
    append(&journal, "b", &mut b, 1);
    append(&journal, "a", &mut a, 2);
    let done = committer.commit(Duration::from_secs(1)).unwrap();
    assert_eq!(done, Committed { durable: journal.position(), closed: None });
    append(&journal, "a", &mut a, 3);
    let done = committer.commit(Duration::from_secs(101)).unwrap();
    let closed = done.closed.unwrap();
    assert_eq!((closed.number, closed.ticks), (SegmentNumber(1), Some((Tick(15), Tick(45)))));
    append(&journal, "b", &mut b, 2);
    committer.commit(Duration::from_secs(102)).unwrap();
    let named = |all: &[(&str, u64)]| -> Vec<(String, u64)> {
        all.iter().map(|(node, number)| ((*node).to_owned(), *number)).collect()
    };
    let first = named(&[("a", 1), ("b", 1), ("a", 2), ("a", 3)]);
    assert_eq!(said(&disk), [first, named(&[("b", 2)])]);
}

#[test]
fn a_segment_ends_by_age_by_late_frames_and_by_samples_but_never_empty() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let mut stream = StreamMark::default();
    let mut closes = |at, samples, is_late| {
        if samples != 0 {
            let addition = Some(Addition { tick: Tick(1_000), samples, is_late });
            journal.append(&mut stream, addition, |_, _| (), |_, out| out.push(0));
        }
        committer.commit(Duration::from_secs(at)).unwrap().closed.is_some()
    };
    assert!(!closes(1_000, 0, false));
    assert!(!closes(2_000, 10, false));
    assert!(!closes(2_099, 10, false));
    assert!(closes(2_100, 10, false));
    assert!(!closes(2_101, 10, true));
    assert!(!closes(2_120, 10, false));
    assert!(closes(2_121, 0, false));
    assert!(!closes(2_122, 999, false));
    assert!(closes(2_123, 1, false));
}

#[test]
fn a_segment_in_which_many_lives_begin_ends_early() {
    let disk = SimulatedDisk::default();
    let journal = Arc::new(Journal::new(SegmentNumber(1), ROOM));
    let span = Span { samples: 3 * SAMPLES_OF_LIFE, ..SPAN };
    let mut committer = Committer::new(Arc::new(disk.clone()), Arc::clone(&journal), span);
    let mut stream = StreamMark::default();
    // Nothing is begun here yet, so it says it anew.
    journal.append_if_begun(&stream, 9, |_, _| ());
    append(&journal, "a", &mut stream, 1);
    journal.append_if_begun(&stream, 2, |_, _| ());
    assert_eq!(committer.commit(Duration::ZERO).unwrap().closed, None);
    journal.append_if_begun(&stream, 1, |_, _| ());
    assert!(committer.commit(Duration::ZERO).unwrap().closed.is_some());
}

#[test]
fn a_segment_with_frames_that_leave_the_window_before_it_ends_ends_early() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let mut stream = StreamMark::default();
    let mut closes = |at, tick| {
        let addition = Some(Addition { tick: Tick(tick), samples: 1, is_late: false });
        journal.append(&mut stream, addition, |_, _| (), |_, out| out.push(0));
        committer.commit(Duration::from_secs(at)).unwrap().closed.is_some()
    };
    assert!(!closes(1_000, 1_000));
    assert!(!closes(1_019, 901));
    assert!(!closes(1_020, 950));
    assert!(closes(1_021, 1_001));
}

#[test]
fn a_full_disk_loses_nothing_and_recovers() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let mut stream = StreamMark::default();
    append(&journal, "a", &mut stream, 1);
    let safe = committer.commit(Duration::ZERO).unwrap().durable;
    for room in [0, 5, 20] {
        disk.leave_room(Some(room));
        append(&journal, "a", &mut stream, 2 + room);
        let error = committer.commit(Duration::ZERO).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    assert!(safe < journal.position() && journal.has_room());
    disk.leave_room(None);
    let durable = committer.commit(Duration::ZERO).unwrap().durable;
    let durable = durable.max(committer.commit(Duration::ZERO).unwrap().durable);
    assert_eq!(durable, journal.position());
    let numbers: Vec<u64> = said(&disk).concat().into_iter().map(|(_, number)| number).collect();
    assert_eq!(numbers, [1, 2, 7, 22]);
}

#[test]
fn more_than_may_wait_is_not_taken_until_there_is_room() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let mut stream = StreamMark::default();
    let large = vec![0; ROOM];
    journal.append(&mut stream, None, |_, _| (), |_, out| out.extend_from_slice(&large));
    assert!(!journal.has_room());
    committer.commit(Duration::ZERO).unwrap();
    assert!(journal.has_room());
}

#[test]
fn a_name_comes_back_and_columns_go_before_frames() {
    let disk = SimulatedDisk::default();
    for name in ["journal-000000000002.tally", "journal-000000000002-kept.tally", "lock", "x"] {
        disk.create(name).unwrap();
    }
    let found = list(&disk).unwrap();
    assert_eq!(found, [SegmentName { number: SegmentNumber(2), is_columns: true }]);
    assert_eq!(SegmentName::parse("journal-2.tally"), None);
}

#[test]
fn a_newer_format_is_refused_by_name_and_a_torn_head_says_nothing() {
    let disk = SimulatedDisk::default();
    let name = SegmentName { number: SegmentNumber(1), is_columns: false };
    disk.create(&name.to_string()).unwrap().append(b"tallyjnl\x02\0\0\0").unwrap();
    let error = read(&disk, name, |_, _| ()).unwrap_err().to_string();
    assert!(error.starts_with("journal-000000000001.tally has format 2"), "{error}");
    disk.create(&name.to_string()).unwrap().append(b"tallyj").unwrap();
    assert_eq!(read(&disk, name, |_, _| ()).unwrap().end, End::Torn);
}

proptest! {
    /// Whatever step the disk dies at, and whatever of the rest it kept: what was called durable
    /// is there, in order, and nothing that was not said.
    #[test]
    fn what_is_durable_survives_a_crash_at_every_step(
        steps in 0u64..60, seed: u64, commits in 1u64..12,
    ) {
        let disk = SimulatedDisk::default();
        let (journal, mut committer) = new(&disk);
        disk.crash_after(steps);
        let mut stream = StreamMark::default();
        let mut durable = 0;
        for sequence in 1..=commits {
            append(&journal, "a", &mut stream, sequence);
            let at = Duration::from_secs(40 * sequence);
            match committer.commit(at) {
                Ok(_) => durable = sequence,
                Err(_) => break,
            }
        }
        let found = said(&disk.after_crash(seed)).concat();
        let numbers: Vec<u64> = found.into_iter().map(|(_, number)| number).collect();
        let expected: Vec<u64> = (1..=commits).collect();
        prop_assert!(durable <= u64::try_from(numbers.len()).unwrap());
        prop_assert_eq!(&numbers[..], &expected[..numbers.len()]);
    }

    #[test]
    fn arbitrary_bytes_are_no_entry_and_no_panic(bytes: Vec<u8>) {
        let _unread = entry::entry(Bytes::from(bytes));
    }
}

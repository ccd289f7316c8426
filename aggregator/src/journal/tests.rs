use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tally_proto::{
    message::{BootId, Hello, PackedFrame, Run, Sequence},
    name::NodeName,
    record::{self, End},
    tick::Resolution,
};

use super::{
    entry::{Entry, EntryReader, Standing, push_base, push_begin, push_frame},
    segment::{list, read},
    *,
};
use crate::history::disk::simulated::SimulatedDisk;

const SPAN: Span = Span {
    longest: Duration::from_secs(100),
    longest_with_late: Duration::from_secs(20),
    bytes: 1_000,
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
        acknowledge_within: Duration::ZERO,
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
        Some(Addition { tick, is_late: false }),
        |number, out| push_begin(number, &hello(node), out),
        |number, out| push_frame(number, &frame(sequence), Standing::New, out),
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
fn a_segment_ends_by_age_by_late_frames_and_by_bytes_but_never_empty() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let mut stream = StreamMark::default();
    let mut closes = |at, bytes, is_late| {
        if bytes != 0 {
            let addition = Some(Addition { tick: Tick(1_000), is_late });
            let write = |_, out: &mut Vec<u8>| out.extend(vec![0; bytes]);
            journal.append(&mut stream, addition, |_, _| (), write);
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
    assert!(!closes(2_122, 980, false));
    assert!(!closes(2_123, 1, false));
    assert!(closes(2_124, 10, false));
}

#[test]
fn a_segment_with_frames_that_leave_the_window_before_it_ends_ends_early() {
    let disk = SimulatedDisk::default();
    let (journal, mut committer) = new(&disk);
    let mut stream = StreamMark::default();
    let mut closes = |at, tick| {
        let addition = Some(Addition { tick: Tick(tick), is_late: false });
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
    assert_eq!(found, [SegmentName { number: SegmentNumber(2), state: SegmentState::Kept }]);
    assert_eq!(SegmentName::parse("journal-2.tally"), None);
}

#[test]
fn a_newer_format_is_refused_by_name_and_a_torn_head_says_nothing() {
    let disk = SimulatedDisk::default();
    let name = SegmentName { number: SegmentNumber(1), state: SegmentState::Frames };
    disk.create(&name.to_string()).unwrap().append(b"tallyjnl\x03\0\0\0").unwrap();
    let error = read(&disk, name, |_, _| ()).unwrap_err().to_string();
    assert!(error.starts_with("journal-000000000001.tally has format 3"), "{error}");
    disk.create(&name.to_string()).unwrap().append(b"tallyj").unwrap();
    assert_eq!(read(&disk, name, |_, _| ()).unwrap().end, End::Torn);
}

#[test]
fn only_segments_that_may_say_stored_labels_are_refused_by_older_programs() {
    for (stores, version) in [(false, 1), (true, 2)] {
        let disk = SimulatedDisk::default();
        let (journal, committer) = new(&disk);
        let mut committer = if stores { committer.with_stored_labels() } else { committer };
        append(&journal, "a", &mut StreamMark::default(), 1);
        committer.commit(Duration::ZERO).unwrap();
        let name = SegmentName { number: SegmentNumber(1), state: SegmentState::Frames };
        let mut head = [0; 12];
        disk.open(&name.to_string()).unwrap().read_at(0, &mut head).unwrap();
        assert_eq!(head, *segment::head(version));
        assert_eq!(said(&disk), [[("a".to_owned(), 1)]]);
    }
}

#[test]
fn what_is_longer_than_a_record_comes_back_whole() {
    let mut bytes = segment::head(PLAIN_VERSION);
    let long: Vec<u8> = (0..10_000_000u32).flat_map(|at| [at.to_le_bytes()[0]]).collect();
    let (ours, other) = (StreamNumber(1), StreamNumber(2));
    push_begin(ours, &hello("a"), &mut bytes);
    push_begin(other, &hello("b"), &mut bytes);
    let before = bytes.len();
    push_base(ours, (Sequence(0), Tick(7)), &long, &mut bytes);
    // What another stream says lies between the parts after a record of the longest kind.
    let first_part = before + record::HEAD_BYTES + record::PAYLOAD_BYTES;
    let rest = bytes.split_off(first_part);
    push_frame(other, &frame(3), Standing::New, &mut bytes);
    bytes.extend_from_slice(&rest);
    let disk = SimulatedDisk::default();
    let name = SegmentName { number: SegmentNumber(1), state: SegmentState::Frames };
    disk.create(&name.to_string()).unwrap().append(&bytes).unwrap();
    let mut found = Vec::new();
    let up = read(&disk, name, |stream, entry| found.push((stream, entry))).unwrap();
    assert_eq!((up.end, up.malformed), (End::Whole, 0));
    assert!(matches!(&found[2], (stream, Entry::Frame(..)) if *stream == other));
    let (stream, Entry::Base(base)) = &found[3] else { panic!("{:?}", found[3]) };
    assert_eq!((*stream, base.tick), (ours, Tick(7)));
    assert!(base.columns == long);
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
        let _unread = EntryReader::default().next(Bytes::from(bytes));
    }
}

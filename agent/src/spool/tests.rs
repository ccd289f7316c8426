use tally_proto::{
    columns::Builder,
    declaration::{ColumnNumber, EntityNumber},
    message::BootId,
    name::NodeName,
    record,
    tick::{Resolution, UnixMs},
};

use super::{
    disk::{Found, Summary},
    *,
};
use crate::handover::Reading;

fn spool() -> Spool {
    let limits = Limits { bytes: 1 << 20, age_s: 3600, segment_bytes: 1 << 10 };
    let mut spool = Spool::new(limits, hello(9));
    let outbox = Outbox::new(crate::outbox::Limits { frames: 9, bytes: 1 << 20 });
    assert_eq!(spool.next_job(&outbox, None, Urgency::Calm, Duration::ZERO), Some(Job::Scan));
    spool
}

fn hello(run: u64) -> Hello {
    Hello {
        node: NodeName::parse("node-a").unwrap(),
        boot: BootId([0; 16]),
        run: Run(run),
        resolution: Resolution::DEFAULT,
        agent_version: String::new(),
        acknowledge_within: Duration::ZERO,
    }
}

/// A segment of a run with frames from, to, of 10 values each.
fn found(segment: u64, run: u64, first: u64, last: u64, end: record::End) -> Found {
    let newest = Resolution::DEFAULT.tick_at(UnixMs(i64::try_from(last).unwrap() * 15_000));
    let summary = Summary {
        hello: hello(run),
        frames: (first <= last).then_some((Sequence(first), Sequence(last), newest)),
        samples: 10 * (last + 1 - first),
        bytes: 100,
        end,
    };
    Found { segment: SegmentNumber(segment), summary: Ok(summary) }
}

/// What is known after a scan: number, run, first, last and values of each segment; frames that
/// are missing; segments that are to be removed.
#[track_caller]
fn check(scanned: Vec<Found>, known: &[(u64, u64, u64, u64, u64)], missing: u64, unneeded: &[u64]) {
    let mut spool = spool();
    let outcome = spool.done(Ok(Done::Scanned(scanned)), Sequence(1), Duration::ZERO);
    assert!(matches!(outcome, Outcome::Nothing));
    let segments = spool.index().iter().map(|segment| {
        let Segment { number, run, first, last, samples, .. } = segment;
        (number.0, run.0, first.0, last.0, *samples)
    });
    assert_eq!(segments.collect::<Vec<_>>(), known);
    assert_eq!(spool.lost().frames, missing);
    let removed: Vec<u64> = spool.unneeded.iter().map(|segment| segment.0).collect();
    assert_eq!(removed, unneeded);
}

const WHOLE: record::End = record::End::Whole;
const TORN: record::End = record::End::Torn;
const DAMAGED: record::End = record::End::Damaged;

#[test]
fn segments_of_several_runs_are_known_in_their_order() {
    let scanned = vec![found(3, 1, 5, 9, WHOLE), found(4, 2, 1, 3, TORN)];
    check(scanned, &[(3, 1, 5, 9, 50), (4, 2, 1, 3, 30)], 0, &[]);
}

#[test]
fn a_segments_frames_end_where_the_next_of_its_run_begins() {
    let scanned = vec![found(3, 1, 1, 9, TORN), found(4, 1, 7, 12, WHOLE)];
    check(scanned, &[(3, 1, 1, 6, 60), (4, 1, 7, 12, 60)], 0, &[]);
    let scanned = vec![found(3, 1, 7, 9, TORN), found(4, 1, 7, 12, WHOLE)];
    check(scanned, &[(4, 1, 7, 12, 60)], 0, &[3]);
    let of_two_runs = vec![found(3, 1, 1, 9, TORN), found(4, 2, 7, 12, WHOLE)];
    check(of_two_runs, &[(3, 1, 1, 9, 90), (4, 2, 7, 12, 60)], 0, &[]);
}

#[test]
fn frames_are_missing_after_damage_and_not_after_what_was_dropped_and_counted_then() {
    let gap = |end| vec![found(3, 1, 1, 4, end), found(4, 1, 7, 12, WHOLE)];
    let known = [(3, 1, 1, 4, 40), (4, 1, 7, 12, 60)];
    check(gap(DAMAGED), &known, 2, &[]);
    check(gap(TORN), &known, 2, &[]);
    check(gap(WHOLE), &known, 0, &[]);
}

#[test]
fn what_has_no_frame_is_removed() {
    let beginning = Err(segment::Unreadable::NoBeginning.into());
    let scanned =
        vec![found(3, 1, 1, 0, TORN), Found { segment: SegmentNumber(4), summary: beginning }];
    check(scanned, &[], 0, &[3, 4]);
}

#[test]
fn what_the_disk_does_not_give_or_a_newer_agent_wrote_stays() {
    let not_given = disk::NotRead::Disk(io::ErrorKind::Other);
    let newer = segment::Unreadable::Newer(2).into();
    let scanned = vec![
        Found { segment: SegmentNumber(3), summary: Err(not_given) },
        Found { segment: SegmentNumber(4), summary: Err(newer) },
    ];
    check(scanned, &[], 0, &[]);
}

/// A spool that knows what is there, and an outbox with so many frames.
fn spool_and_outbox(frames: u64) -> (Spool, Outbox) {
    let mut spool = spool();
    spool.done(Ok(Done::Scanned(Vec::new())), Sequence(1), Duration::ZERO);
    let mut outbox = Outbox::new(crate::outbox::Limits { frames: 99, bytes: usize::MAX });
    for tick in 1..=frames {
        push(&mut outbox, tick, 1);
    }
    (spool, outbox)
}

/// Adds a frame of a tick, with so many entities in so many columns.
fn push(outbox: &mut Outbox, tick: u64, side: u32) {
    let mut builder = Builder::new();
    for cell in 0..side * side {
        let value = i64::from(cell).wrapping_mul(0x7fff_1234_5678_9abd) | 1;
        builder.set(EntityNumber(cell % side), ColumnNumber(cell / side), value);
    }
    let columns = builder.finish().clone();
    outbox.push(Reading { tick: Tick(tick), columns, ..Default::default() }, Duration::ZERO);
}

#[track_caller]
fn works(spool: &mut Spool, outbox: &Outbox, at: u64) -> Option<SegmentNumber> {
    let at = Duration::from_secs(at);
    let job = spool.next_job(outbox, None, Urgency::Outage, at)?;
    let (segment, done) = match job {
        Job::Write { segment, .. } => (segment, Done::Written),
        Job::Sync(segment) => (segment, Done::Synced),
        job => panic!("{job:?}"),
    };
    spool.done(Ok(done), Sequence(1), at);
    Some(segment)
}

fn known(spool: &Spool) -> Vec<(u64, u64, u64)> {
    let segments = spool.index().iter();
    segments.map(|segment| (segment.number.0, segment.first.0, segment.last.0)).collect()
}

#[test]
fn after_a_sync_that_failed_everything_since_the_last_is_written_again_elsewhere() {
    let (mut spool, mut outbox) = spool_and_outbox(3);
    assert_eq!(works(&mut spool, &outbox, 0), Some(SegmentNumber(1)));
    assert_eq!(works(&mut spool, &outbox, 10), Some(SegmentNumber(1)), "synced");
    push(&mut outbox, 4, 1);
    assert_eq!(works(&mut spool, &outbox, 11), Some(SegmentNumber(1)));
    assert_eq!(known(&spool), [(1, 1, 4)]);
    let at = Duration::from_secs(21);
    let sync = spool.next_job(&outbox, None, Urgency::Outage, at);
    assert_eq!(sync, Some(Job::Sync(SegmentNumber(1))));
    spool.done(Err(io::Error::other("test")), Sequence(1), at);
    assert_eq!(works(&mut spool, &outbox, 30), None, "it is left alone");
    assert_eq!(works(&mut spool, &outbox, 31), Some(SegmentNumber(2)));
    assert_eq!(known(&spool), [(1, 1, 3), (2, 4, 4)]);
}

#[test]
fn a_frame_too_large_to_be_sent_is_not_written_and_what_follows_needs_nothing_of_it() {
    let (mut spool, mut outbox) = spool_and_outbox(2);
    push(&mut outbox, 3, 750);
    push(&mut outbox, 4, 1);
    assert_eq!(works(&mut spool, &outbox, 0), Some(SegmentNumber(1)));
    assert_eq!(works(&mut spool, &outbox, 1), Some(SegmentNumber(1)), "synced before the next");
    assert_eq!(works(&mut spool, &outbox, 1), Some(SegmentNumber(2)));
    assert_eq!(known(&spool), [(1, 1, 2), (2, 4, 4)]);
    assert_eq!(works(&mut spool, &outbox, 2), None);
}

#[test]
fn a_clock_set_back_begins_a_segment() {
    let (mut spool, mut outbox) = spool_and_outbox(2);
    push(&mut outbox, 1, 1);
    while works(&mut spool, &outbox, 0).is_some() {}
    assert_eq!(known(&spool), [(1, 1, 2), (2, 3, 3)]);
}

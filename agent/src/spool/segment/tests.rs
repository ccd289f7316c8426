use std::time::Duration;

use proptest::prelude::*;
use tally_proto::{
    columns::{Builder, pack_key},
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message::{BootId, PackedFrame, Run, Sequence},
    metric::{Labels, MetricName},
    name::NodeName,
    tick::{Resolution, Tick},
};

use super::*;

fn hello() -> Hello {
    Hello {
        node: NodeName::parse("node-a").unwrap(),
        boot: BootId([7; 16]),
        run: Run(42),
        resolution: Resolution::DEFAULT,
        agent_version: "0.1.0".to_owned(),
        acknowledge_within: Duration::ZERO,
    }
}

fn entities(numbers: std::ops::Range<u32>) -> Vec<EntityDeclaration> {
    let entity = |number| EntityDeclaration {
        number: EntityNumber(number),
        start: None,
        what: Declared::Node,
    };
    numbers.map(entity).collect()
}

fn outgoing(sequence: u64, tick: u64, declarations: Declarations) -> Outgoing {
    let mut builder = Builder::new();
    builder.set(EntityNumber(0), ColumnNumber(0), i64::try_from(sequence).unwrap());
    let mut packed = Vec::new();
    pack_key(builder.finish(), &mut packed);
    let frame =
        PackedFrame { sequence: Sequence(sequence), tick: Tick(tick), columns: packed.into() };
    Outgoing { declarations, frame, samples: u32::try_from(sequence).unwrap() * 3 }
}

/// Frames 5 to 8, with declarations of every kind.
fn frames() -> Vec<Outgoing> {
    let column = |number| ColumnDeclaration {
        number: ColumnNumber(number),
        metric: MetricName::parse("cpu/usage").unwrap(),
        labels: Labels::default(),
        floating: false,
        cumulative: true,
    };
    let all = Declarations {
        entities: entities(0..250),
        columns: (1..130).map(column).collect(),
        retired: Vec::new(),
    };
    let some = Declarations {
        entities: entities(300..301),
        columns: Vec::new(),
        retired: vec![EntityNumber(7)],
    };
    vec![
        outgoing(5, 50, all),
        outgoing(6, 51, Declarations::default()),
        outgoing(7, 55, some),
        outgoing(8, 56, Declarations::default()),
    ]
}

fn written(frames: &[Outgoing]) -> Vec<u8> {
    let mut bytes = Vec::new();
    begin(&hello(), &mut bytes).unwrap();
    for frame in frames {
        push_frame(frame.clone(), &mut bytes).unwrap();
    }
    bytes
}

fn read_all(bytes: &[u8]) -> Result<Contents, Unreadable> {
    read(&Bytes::copy_from_slice(bytes))
}

#[test]
fn what_was_written_is_read() {
    let contents = Contents { hello: hello(), frames: frames(), end: End::Whole };
    assert_eq!(read_all(&written(&frames())), Ok(contents));
}

#[test]
fn the_frames_share_the_memory_of_the_file() {
    let bytes = Bytes::from(written(&frames()));
    let contents = read(&bytes).unwrap();
    let memory = bytes.as_ptr_range();
    assert!(contents.frames.iter().all(|kept| memory.contains(&kept.frame.columns.as_ptr())));
}

#[test]
fn cut_at_any_byte_it_has_the_frames_before() {
    let bytes = written(&frames());
    let ends: Vec<usize> = (0..=4).map(|count| written(&frames()[..count]).len()).collect();
    for cut in 0..bytes.len() {
        let whole = ends.iter().filter(|end| **end <= cut).count();
        match (read_all(&bytes[..cut]), whole) {
            (found, 0) => assert_eq!(found, Err(Unreadable::NoBeginning), "cut at {cut}"),
            (found, whole) => {
                let found = found.unwrap();
                assert_eq!(found.frames, frames()[..whole - 1], "cut at {cut}");
            }
        }
    }
}

#[test]
fn a_newer_version_is_told_from_no_segment_at_all() {
    let mut bytes = written(&[]);
    bytes[8] = 2;
    assert_eq!(read_all(&bytes), Err(Unreadable::Newer(2)));
    bytes[8] = 0;
    assert_eq!(read_all(&bytes), Err(Unreadable::NoBeginning));
    bytes[0] = b'T';
    assert_eq!(read_all(&bytes), Err(Unreadable::NoBeginning));
    assert_eq!(read_all(b""), Err(Unreadable::NoBeginning));
}

#[test]
fn what_does_not_follow_ends_it() {
    let nothing = Declarations::default;
    for next in
        [outgoing(9, 100, nothing()), outgoing(7, 100, nothing()), outgoing(8, 55, nothing())]
    {
        let mut frames = frames();
        frames[3] = next;
        let found = read_all(&written(&frames)).unwrap();
        assert_eq!((&found.frames[..], found.end), (&frames[..3], End::Damaged));
    }
}

#[test]
fn what_only_a_newer_agent_says_is_passed_over() {
    let mut bytes = written(&frames()[..1]);
    push(AgentMessage::Unknown, 0, &mut bytes).unwrap();
    push_frame(frames()[1].clone(), &mut bytes).unwrap();
    let found = read_all(&bytes).unwrap();
    assert_eq!((&found.frames[..], found.end), (&frames()[..2], End::Whole));
}

proptest! {
    #[test]
    fn arbitrary_bytes_after_a_good_beginning_are_read_to_some_end(
        rest in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = written(&frames()[..2]);
        bytes.extend_from_slice(&rest);
        prop_assert_eq!(&read_all(&bytes).unwrap().frames[..], &frames()[..2]);
    }

    #[test]
    fn whatever_a_record_says_it_is_read_to_some_end(
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut bytes = written(&frames()[..2]);
        record::append(&mut bytes, |out| out.extend_from_slice(&payload)).unwrap();
        prop_assert_eq!(&read_all(&bytes).unwrap().frames[..2], &frames()[..2]);
    }
}

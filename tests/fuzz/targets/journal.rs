//! The journal: arbitrary bytes as an entry, and as a segment's file.

#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use tally_aggregator::{
    history::disk::{Disk, simulated::SimulatedDisk},
    journal::{
        entry::EntryReader,
        known,
        segment::{self, SegmentName, SegmentNumber, SegmentState},
    },
};
use tally_proto::record;

fuzz_target!(|data: &[u8]| {
    drop(EntryReader::default().next(Bytes::copy_from_slice(data)));
    drop(known::decode(data));

    // As the only record of a segment, whatever it says, and as bytes behind its head.
    let name = SegmentName { number: SegmentNumber(1), state: SegmentState::Frames };
    for is_record in [true, false] {
        let disk = SimulatedDisk::default();
        let mut file = disk.create(&name.to_string()).expect("there is room");
        let mut bytes = b"tallyjnl\x01\0\0\0".to_vec();
        if is_record {
            record::append(&mut bytes, |out| out.extend_from_slice(data)).expect("inputs are short");
        } else {
            bytes.extend_from_slice(data);
        }
        file.append(&bytes).expect("there is room");
        let mut entries = 0;
        let read = segment::read(&disk, name, |_, _| entries += 1).expect("it can be read");
        assert_eq!(read.bytes, u64::try_from(bytes.len()).expect("it is short"));
        assert!(!is_record || entries + read.malformed <= 1);
    }
});

//! Records of a file: arbitrary bytes, and a file of records with one byte changed.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_proto::record::{End, HEAD_BYTES, Records, append};

fuzz_target!(|data: &[u8]| {
    let mut records = Records::new(data);
    let read: Vec<&[u8]> = records.by_ref().collect();
    let whole = records.whole_bytes();
    assert_eq!(whole, read.iter().map(|payload| HEAD_BYTES + payload.len()).sum::<usize>());
    assert_eq!(records.end() == Some(End::Whole), whole == data.len());

    // What was read, written again, is the same bytes.
    let mut written = Vec::new();
    for payload in &read {
        append(&mut written, |out| out.extend_from_slice(payload)).expect("it was short enough");
    }
    assert_eq!(written, data[..whole]);

    // The first two bytes say which byte of the next record is changed, and how.
    let Some((&[place, change], payload)) = data.split_first_chunk() else { return };
    let mut file = Vec::new();
    append(&mut file, |out| out.extend_from_slice(payload)).expect("inputs are short");
    let place = usize::from(place) % file.len();
    file[place] ^= change;
    assert_eq!(Records::new(&file).next(), (change == 0).then_some(payload));
});

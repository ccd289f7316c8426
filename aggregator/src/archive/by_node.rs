//! Where a segment has the records of each node. What works on one node's frames after another finds
//! its state where the frame before left it, in the processor's caches; frames in the order in which
//! they came are of another node each.

use std::collections::{BTreeMap, HashMap};

use tally_proto::name::NodeName;

use crate::{
    history::disk::Disk,
    journal::{
        entry::{self, StreamNumber},
        segment::{self, Located, ReadUp, SegmentError, SegmentName},
    },
};

/// How much more a byte of declarations weighs: what lives for one tick takes a kilobyte while it
/// waits to be written, however few its values, and was declared in some hundred bytes.
const DECLARED_WEIGHT: usize = 8;

/// A node, and where its records are.
#[derive(Debug)]
pub(super) struct NodeRecords {
    pub(super) node: NodeName,
    /// In the order in which they came.
    pub(super) records: Vec<Located>,
    /// Their bytes, those of declarations several times.
    pub(super) weight: usize,
}

/// The records of a segment, by node, of those nodes that are wanted; and how far it was read. Each
/// record's checksum has been looked at.
pub(super) fn by_node(
    disk: &dyn Disk,
    name: SegmentName,
    is_wanted: impl Fn(&NodeName) -> bool,
) -> Result<(Vec<NodeRecords>, ReadUp), SegmentError> {
    let mut places: HashMap<StreamNumber, Option<usize>> = HashMap::new();
    let mut known: BTreeMap<NodeName, usize> = BTreeMap::new();
    let mut all: Vec<NodeRecords> = Vec::new();
    let read = segment::payloads(disk, name, |located, payload| {
        let Some((stream, hello)) = entry::beginning(&payload) else { return };
        if let Some(hello) = hello {
            let node = hello.node;
            let place = is_wanted(&node).then(|| {
                *known.entry(node).or_insert_with_key(|node| {
                    all.push(NodeRecords { node: node.clone(), records: Vec::new(), weight: 0 });
                    all.len() - 1
                })
            });
            places.insert(stream, place);
        }
        let place = places.get(&stream).copied().flatten();
        let Some(of_node) = place.and_then(|place| all.get_mut(place)) else { return };
        of_node.records.push(located);
        of_node.weight +=
            payload.len() * if entry::is_said(&payload) { DECLARED_WEIGHT } else { 1 };
    })?;
    all.sort_by(|a, b| a.node.cmp(&b.node));
    Ok((all, read))
}

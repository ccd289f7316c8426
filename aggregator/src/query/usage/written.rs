//! What was written of pods, node by node, taken out in the order of their names.
//!
//! It is put together piece by piece as it is taken: a piece that is sent at once is still in the
//! caches, and the next one gets its memory.

use super::order::Place;

/// What the pods of most nodes take when they are written.
const BYTES_OF_A_NODE: usize = 8 << 10;

/// The pods of one node as they were written.
#[derive(Debug, Default)]
pub(super) struct PodsOfNode {
    bytes: Vec<u8>,
    /// Where each ends.
    ends: Vec<u32>,
}

impl PodsOfNode {
    /// Lets `write` append a pod.
    pub(super) fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        if self.bytes.is_empty() {
            self.bytes.reserve(BYTES_OF_A_NODE);
        }
        write(&mut self.bytes);
        // Four gigabytes of pods on one node are more than its frame may name.
        self.ends.push(u32::try_from(self.bytes.len()).unwrap_or(u32::MAX));
    }

    fn pod(&self, number: u32) -> Option<&[u8]> {
        let end = |number: u32| self.ends.get(usize::try_from(number).ok()?).copied();
        let begin = number.checked_sub(1).map_or(Some(0), end)?;
        self.bytes.get(usize::try_from(begin).ok()?..usize::try_from(end(number)?).ok()?)
    }
}

/// The pods of all nodes as they were written, in order.
#[derive(Debug)]
pub struct WrittenPods {
    nodes: Vec<PodsOfNode>,
    /// Of each pod the node, and its number there.
    order: Vec<(u32, u32)>,
    bytes: usize,
}

impl WrittenPods {
    pub(super) fn new(nodes: Vec<PodsOfNode>, places: &[Place<'_>]) -> Self {
        let small = |place: usize| u32::try_from(place).unwrap_or(u32::MAX);
        let order = places.iter().map(|place| (small(place.node), small(place.pod))).collect();
        let mut pods = Self { nodes, order, bytes: 0 };
        pods.bytes = pods.of(&pods.order).map(<[u8]>::len).sum();
        pods
    }

    /// How long all of it is.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How much memory it takes until the last piece is taken.
    pub fn memory(&self) -> usize {
        let of_node = |node: &PodsOfNode| node.bytes.capacity() + size_of_val(&*node.ends);
        self.nodes.iter().map(of_node).sum::<usize>() + size_of_val(&*self.order)
    }

    /// All of it, in pieces of so many pods.
    pub fn pieces(self, pods: usize) -> impl Iterator<Item = Vec<u8>> + Send + use<> {
        let mut next = 0;
        std::iter::from_fn(move || {
            let end = self.order.len().min(next + pods);
            let pods = self.order.get(next..end).filter(|pods| !pods.is_empty())?;
            next = end;
            let mut piece = Vec::with_capacity(self.of(pods).map(<[u8]>::len).sum());
            self.of(pods).for_each(|bytes| piece.extend_from_slice(bytes));
            Some(piece)
        })
    }

    fn of(&self, pods: &[(u32, u32)]) -> impl Iterator<Item = &[u8]> {
        pods.iter()
            .filter_map(|(node, pod)| self.nodes.get(usize::try_from(*node).ok()?)?.pod(*pod))
    }
}

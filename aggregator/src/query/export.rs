//! `metric-export`: every entity of the newest frames as one JSON document, in pieces.
//!
//! At full size the document has hundreds of megabytes, so it is written by hand, node by node,
//! into pieces that are sent as they are filled; the whole of it is never in memory. What points
//! have in common (names, times, labels) is made once for as many of them as it can be, and
//! copied.
//!
//! ```text
//! exported   which metrics, and what each of their points begins with
//! cells      its columns as they are shown, and each entity's cells
//! entities   writes one entity after the other
//! json, stamp   texts and times
//! ```

mod cells;
mod entities;
mod exported;
mod json;
mod stamp;

use std::{ops::ControlFlow, sync::Arc};

use self::{
    cells::{Cells, columns},
    entities::Entities,
    exported::{Exported, Heads},
    stamp::Stamps,
};
use super::newest::Newest;
use crate::model::node::NodeSlot;

/// Size of a piece: large enough that sending it costs little, small enough to stay in cache.
pub const PIECE_BYTES: usize = 256 << 10;

/// One entity's part: some 2 KiB, more with many disks. A piece that has no room for it grows.
const ENTITY_BYTES: usize = 8 << 10;

/// Gives the document of these nodes' newest frames to `take`, until that breaks.
pub fn export(
    nodes: &[Arc<NodeSlot>],
    mut take: impl FnMut(Vec<u8>) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let exported = Exported::new();
    let mut pieces = Pieces { open: new_piece(), first: true, take: &mut take };
    pieces.open.push(b'[');
    let (mut heads, mut stamps, mut cells) =
        (Heads::default(), Stamps::default(), Cells::default());
    for node in nodes {
        // In this order: the view has this tick, or a newer one too.
        let tick = node.newest();
        let view = node.view();
        let needs = |schema: &_, number| exported.needs_before(schema, number);
        let Some(newest) = Newest::of(&view, tick, &needs) else { continue };
        if heads.set(newest.tick, &exported, &mut stamps).is_none() {
            continue;
        }
        let columns = columns(&newest, &exported, &heads);
        cells.set(&columns);
        let mut entities =
            Entities::new((&exported, &heads), &newest, (&columns, &cells), &mut stamps);
        entities.write(&node.name, &mut pieces)?;
    }
    pieces.open.extend_from_slice(b"]\n");
    (pieces.take)(pieces.open)
}

/// The document as it is written.
struct Pieces<'a> {
    open: Vec<u8>,
    first: bool,
    take: &'a mut dyn FnMut(Vec<u8>) -> ControlFlow<()>,
}

impl Pieces<'_> {
    /// Begins an entity.
    fn begin(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.open.push(b',');
        }
        &mut self.open
    }

    /// Ends an entity, and hands over what is large enough.
    fn end(&mut self) -> ControlFlow<()> {
        if self.open.len() < PIECE_BYTES {
            return ControlFlow::Continue(());
        }
        (self.take)(std::mem::replace(&mut self.open, new_piece()))
    }
}

fn new_piece() -> Vec<u8> {
    Vec::with_capacity(PIECE_BYTES + ENTITY_BYTES)
}

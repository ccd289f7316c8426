//! A frame's numbers in columns, packed as differences from the frame before.
//!
//! A frame is one tick of one node: for each column (a metric, or one label set of a labelled
//! metric) the values of the entities that have one. [`Columns`] holds them unpacked, in absolute
//! values, [`CompactColumns`] the same in less memory. [`Packer`] writes them as bytes against the
//! frame before, [`unpack`] applies those bytes to it. `docs/wire.md` has the format.

mod bits;
mod builder;
mod compact;
mod layout;
mod pack;
mod unpack;

pub use builder::Builder;
pub use compact::{ColumnValues, Compact};
pub use layout::{ColumnLayout, Columns, ColumnsOf, CompactColumns, Layout, RowSet};
pub use pack::{Packer, pack_key};
pub use unpack::{BadColumns, delta_at, has_layout, take_back, unpack};

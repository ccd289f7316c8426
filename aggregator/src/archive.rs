//! Frames to history and back: what the journal holds becomes columns, and fills the live model
//! after a restart.
//!
//! ```text
//! rows     a frame's cells -> whose rows, which series, and what is worked out beside them  (pure)
//! packed   rows in a quarter of their memory or less                                        (pure)
//! span     one node's frames of a segment -> rows and parts of sums                         (pure)
//! kept     what history has already of the same time
//! earlier  what a stream goes on from when the journal does not say
//! totals   parts of sums, added to what history has -> rows of namespaces and the cluster
//! by_node  where a segment has the records of each node
//! seal     a segment -> files of history
//! refill   segments -> the live model
//! upkeep   what is sealed when, merged, dropped
//! status   what people are told of it
//! ```

mod by_node;
mod by_tick;
mod earlier;
pub mod kept;
pub mod packed;
pub mod refill;
pub mod rows;
pub mod seal;
mod span;
pub mod status;
#[cfg(test)]
mod tests;
mod totals;
pub mod upkeep;

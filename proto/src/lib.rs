//! What agent and aggregator both mean: the words, the catalogue of metrics, the columns of a
//! frame, and the wire between the two programs.
//!
//! ```text
//! name, tick, metric, catalogue   the words
//! declaration, frame              what a stream says, as types
//! columns                         a frame's numbers, packed and unpacked
//! record                          what is written to disk: lengths and checksums
//! encode, decode                  types to generated messages and back; nothing else touches `wire`
//! ```
//! Nothing here opens a file or a socket or reads a clock.

pub mod catalogue;
pub mod codec;
pub mod columns;
pub mod declaration;
pub mod decode;
pub mod encode;
pub mod entity;
pub mod limits;
pub mod message;
pub mod metric;
pub mod name;
pub mod rate;
pub mod record;
pub mod tick;
pub mod wire;

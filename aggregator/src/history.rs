//! History: what was sampled, in columns, on disk, and the answers from it.
//!
//! ```text
//! life, series, timeline   whose numbers, which, when
//! codec -> block           rows to bytes and back, exactly
//! disk <- file             blocks to files that are whole or not there; the one edge to the disk
//! ```
//! `docs/history.md` has the format, and the measurements that chose it.

pub mod block;
pub mod cache;
pub mod codec;
pub mod disk;
pub mod error;
pub mod file;
pub mod life;
pub mod series;
pub mod timeline;

//! History: what was sampled, in columns, on disk, and the answers from it.
//!
//! ```text
//! life, series, timeline   whose numbers, which, when
//! codec -> block           rows to bytes and back, exactly
//! disk <- file             blocks to files that are whole or not there; the one edge to the disk
//! join, sketch, tier       parts of series put together; buckets of five minutes and an hour
//! store                    all files of a directory: written, merged, dropped
//! selection, question, aggregate   who was there, series, aggregations
//! plan, found              from which tier, and what it said
//! snapshot, scan           the same files beside their owner, and all that they hold
//! ```
//! `docs/history.md` has the format, and the measurements that chose it.

pub mod aggregate;
pub mod block;
pub mod cache;
pub mod codec;
pub mod disk;
pub mod error;
pub mod file;
mod found;
pub mod join;
pub mod life;
mod plan;
pub mod point;
pub mod question;
pub mod scan;
pub mod selection;
pub mod series;
pub mod sketch;
pub mod snapshot;
pub mod store;
pub mod tier;
pub mod timeline;

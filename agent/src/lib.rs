//! The agent: reads what containers, pods and the node use, and streams it to the aggregator.
//!
//! ```text
//! schedule -> (the reading half) -> handover -> outbox -> uplink == gRPC ==> aggregator
//! ```
//! The arrows up to `outbox` are pure; `app` owns the clock, the sampling thread and the task.

pub mod backoff;
pub mod counters;
pub mod handover;
pub mod meanings;
pub mod outbox;
pub mod schedule;
pub mod settings;
pub mod telemetry;
pub mod uplink;

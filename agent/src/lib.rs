//! The agent: reads what containers, pods and the node use, and streams it to the aggregator.
//!
//! ```text
//! schedule -> (the reading half) -> handover -> outbox -> uplink == gRPC ==> aggregator
//! ```
//! The arrows up to `outbox` are pure; `app` owns the clock, the sampling thread and the task.

pub mod app;
pub mod assemble;
pub mod backoff;
pub mod cgroup;
pub mod columns;
pub mod counters;
pub mod handover;
pub mod host;
pub mod identity;
pub mod meanings;
pub mod network;
pub mod node;
pub mod once;
pub mod outbox;
pub mod own_cost;
pub mod parse;
pub mod sampler;
pub mod schedule;
pub mod settings;
pub mod telemetry;
pub mod uplink;

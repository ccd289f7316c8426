//! The agent: reads what containers, pods and the node use, and streams it to the aggregator.
//!
//! ```text
//! host -> parse -> cgroup, node, network -> sampler -> handover -> outbox -> uplink == gRPC ==>
//! ```
//! `host` opens files, `uplink` sockets; `schedule`, `parse`, `assemble`, `meanings`, `outbox` and
//! `backoff` are pure. `app` alone reads the clock, starts the sampling thread and the uplink.

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
pub mod reading;
pub mod sampler;
pub mod schedule;
pub mod settings;
pub mod telemetry;
pub mod uplink;

//! The agent: reads what containers, pods and the node use, and streams it to the aggregator.
//!
//! ```text
//! host -> parse -> cgroup, node, network -> sampler -> handover -> backlog -> uplink == gRPC ==>
//!                                                               outbox, spool -> folder
//! ```
//! `host` and `folder` open files, `uplink` sockets; `schedule`, `parse`, `assemble`, `meanings`,
//! `outbox`, `spool`, `backlog` and `backoff` are pure. `app` alone reads the clock, starts the sampling
//! thread, the spool's thread and the uplink.

pub mod app;
pub mod assemble;
pub mod backlog;
pub mod backoff;
pub mod cgroup;
pub mod columns;
pub mod counters;
pub mod folder;
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
pub mod spool;
pub mod telemetry;
pub mod uplink;

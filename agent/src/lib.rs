//! The agent: reads what containers, pods and the node use, and streams it to the aggregator.
//!
//! ```text
//! host -> parse -> cgroup, node, network -> sampler -> handover -> backlog -> uplink == gRPC ==>
//!                       runtimes -> inquiry --^                 outbox, spool -> folder
//! ```
//! `host` and `folder` open files, `uplink` and `runtimes` sockets; `schedule`, `parse`, `assemble`,
//! `meanings`, `names`, `outbox`, `spool`, `backlog` and `backoff` are pure. `app` alone reads the clock,
//! starts the sampling thread, the spool's thread, the uplink and who asks the runtimes.

pub mod app;
pub mod assemble;
pub mod backlog;
pub mod backoff;
pub mod cgroup;
pub mod columns;
pub mod counters;
pub mod disk_usage;
pub mod folder;
pub mod handover;
pub mod host;
pub mod identity;
pub mod inquiry;
pub mod meanings;
pub mod names;
pub mod network;
pub mod node;
pub mod once;
pub mod outbox;
pub mod own_cost;
pub mod parse;
pub mod reading;
pub mod runtimes;
pub mod sampler;
pub mod schedule;
pub mod settings;
pub mod spool;
pub mod telemetry;
pub mod uplink;
pub mod volumes;

//! `tally-swarm`: a cluster of simulated nodes that load an aggregator as agents would.
//!
//! ```text
//! shape     how many of what              habit     how one container's numbers move
//! names     what things are called        node      one node: declarations, and a frame a tick
//! ```
//! The above is pure and seeded: the same seed gives the same bytes. Below it are the tasks that
//! deliver and ask:
//! ```text
//! uplink    one node's stream             aggregator  the process under test: start, CPU, memory
//! cadence   at a resolution, or flat out  asking      REST: freshness, latencies, export
//! ```

pub mod aggregator;
pub mod app;
pub mod arguments;
pub mod asking;
pub mod cadence;
pub mod clock;
pub mod crew;
pub mod descriptors;
pub mod freshness;
pub mod habit;
pub mod histogram;
pub mod http;
pub mod meter;
pub mod names;
pub mod node;
pub mod punctuality;
pub mod quantiles;
pub mod random;
pub mod reading;
pub mod recorded;
pub mod report;
pub mod shape;
pub mod uplink;

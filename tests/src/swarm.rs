//! `tally-swarm`: a cluster of simulated nodes that load an aggregator as agents would.
//!
//! ```text
//! shape     how many of what              habit     how one container's numbers move
//! names     what things are called        node      one node: declarations, and a frame a tick
//! weather   outages and restarts          reading   where a node's values stand in its frames
//! ```
//! The above is pure and seeded: the same seed gives the same bytes. Below it are the tasks that
//! deliver, and what is found out about them:
//! ```text
//! app       the run: connect, measure, ask    crew         a thread with its share of the nodes
//! cadence   at a resolution, or flat out      uplink       one node's stream
//! asking    REST: latencies, export           freshness    REST: how old the newest number is
//! aggregator  the process under test          punctuality  whether the player itself kept up
//! ```
//!
//! A frame costs the player about 60 µs: half of it to make and pack, in the quiet part of a tick,
//! and half to send and to read the acknowledgement. Nothing is replayed: every value of every
//! frame is new.

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
pub mod memory;
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
pub mod weather;

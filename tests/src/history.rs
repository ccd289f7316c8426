//! Data sets for the store of history: the recorded samples, and those of the swarm's nodes.

pub mod cpu_clock;
pub mod recorded;
pub mod swarm;

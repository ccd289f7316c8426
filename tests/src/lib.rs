//! What the whole-program tests and load programs share.

pub mod clocks;
pub mod compare;
pub mod faults;
pub mod golden;
pub mod history;
pub mod known_cluster;
pub mod known_loads;
pub mod known_objects;
pub mod partition;
pub mod readers;
pub mod skip;
pub mod swarm;
pub mod wire;

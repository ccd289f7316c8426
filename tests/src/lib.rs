//! What the whole-program tests and load programs share.

pub mod golden;
pub mod known_loads;
pub mod swarm;

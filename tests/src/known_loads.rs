//! `known-loads`: whether the agent says of loads of a known size what the kernel says.
//!
//! ```text
//! arguments  which processes are which load        kernel   what the kernel's own files say of them
//! agent      what the agent's sampler says         moment   both at the same moment, twice
//! checks     where the two must be equal           names    what the agent takes each for
//! ```
//! The kernel's side shares nothing with the agent: it opens, reads and splits the files by itself.
//! Of a load at rest both must be equal to the digit. One that burns moves on between two readings, so
//! the agent's must lie between the kernel's before and after it.

pub mod agent;
pub mod arguments;
pub mod checks;
pub mod figure;
pub mod kernel;
pub mod moment;
pub mod names;

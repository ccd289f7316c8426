//! `tally-clocks`: the real agent and the real aggregator, each with a clock of its own that is set
//! wrong and right again while they run.
//!
//! ```text
//! clock  a program's clock: a file that libfaketime reads
//! story  which clocks are wrong, by how much, and what must be there afterwards
//! ```
//! Only the time of day is wrong: what says how long something took goes on as it was, as it does on
//! a host whose clock is set.

pub mod clock;
pub mod story;

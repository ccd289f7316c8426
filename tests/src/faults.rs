//! `tally-faults`: whatever breaks, history is that of a run in which nothing broke.
//!
//! ```text
//! cluster   what is true: every value of every tick, worked out from a seed   (pure)
//! player    one node: keeps what was not acknowledged, and sends it again as an agent does
//! server    the aggregator's process: started, killed, its files torn, its disk filled
//! story     what happens when: random moments, decided by the seed
//! past      questions about the past: to two servers, and against what is true
//! ```
//! The disturbed run and the undisturbed one get the same frames. What is acknowledged is never
//! sent again by itself, so a frame that was acknowledged and lost is missing in the answers.

pub mod cluster;
pub mod past;
pub mod player;
pub mod server;
pub mod story;

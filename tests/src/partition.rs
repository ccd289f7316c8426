//! `tally-partition`: the real agent and the real aggregator in two network namespaces of this host,
//! with a network between them that breaks, and processes that are killed and stopped.
//!
//! ```text
//! network  two namespaces and what joins them: cut, silenced, mended
//! daemon   a process in one of them: started, killed, stopped for a while
//! diary    what the agent says it read, and which of it may be lost         (pure)
//! witness  a second reader of the same host, for what the values must be between
//! story    what breaks when: random moments, decided by the seed
//! past     what history says, against the diary and the witness
//! ```
//! `tally-faults` has senders of its own, so that what was sent is known to the last value. Here both
//! sides are the programs themselves, and what is true is found out by others.

pub mod daemon;
pub mod diary;
pub mod network;
pub mod past;
pub mod story;
pub mod witness;

//! Recorded answers of a real Heapster, and how ours are compared with them.
//!
//! ```text
//! recording   one request with its recorded answer      question  what its path asks
//! summary     one kubelet summary -> readings           numbers   readings -> declarations, frames
//! sender      one node's stream to the aggregator       http      one request to it
//! facts       what the inputs say that rules need       rules     why a difference is right
//! compare     a recorded answer and ours, by meaning; rules and compare have a part for history
//! ```

pub mod compare;
pub mod facts;
pub mod http;
pub mod numbers;
pub mod question;
pub mod recording;
pub mod rules;
pub mod sender;
pub mod summary;

//! `known-objects`: whether the aggregator says of the objects of a real API server what they are.
//!
//! ```text
//! api         the API server: objects that are written to it, and its end and beginning
//! host        a node whose agent knows its pods by uid and id alone
//! aggregator  the aggregator's process, and what it answers
//! story       what happens one after the other, and what must be right after each
//! ```
//! Nobody runs the pods: an API server alone keeps what is written to it.

pub mod aggregator;
pub mod api;
pub mod host;
pub mod story;

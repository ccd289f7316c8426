//! Columns of numbers to bytes and back, exactly, for every bit pattern.
//!
//! A series becomes differences from tick to tick; what a relation to other series of its block
//! explains is taken out of them, then their common divisor and their usual step. What remains is
//! mostly zeros and small numbers, and noise in the busy ones. Each remainder is a token (its
//! size) and raw bits (the rest of it). Tokens are coded by rANS with static tables, one table for
//! each context; the context is how large the remainders just before were, so that one table set
//! serves series of every scale. Every series has a stream of its own: it can be read without its
//! neighbours, but for those it is related to.
//!
//! Measured against its rivals in `docs/history.md`.

pub mod bytes;
pub(super) mod model;
pub(super) mod rans;
pub(super) mod relation;
pub(super) mod remainder;
pub(super) mod token;

pub use bytes::Malformed;

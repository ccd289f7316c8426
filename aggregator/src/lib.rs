//! The central program: takes the streams of all agents, rolls them up, and answers over REST.
//!
//! ```text
//! ingest -> admission -> model (writer: unpack; roster, schema: what it means; rollup: sums)
//!                          \-> query -> rest
//! kubernetes (watches) -> inventory (what only the API server knows) -> roster
//! history (days of samples in files) -> history_command (what people do with them)
//! ```

pub mod admission;
pub mod app;
pub mod archive;
pub mod callers;
pub mod clock;
pub mod declared;
pub mod history;
pub mod history_command;
pub mod history_dir;
pub mod ingest;
pub mod inventory;
pub mod journal;
pub mod kubernetes;
pub mod model;
mod percent;
pub mod point;
pub mod query;
pub mod recipe;
pub mod rest;
pub mod rollup;
pub mod roster;
pub mod schema;
pub mod self_metrics;
pub mod settings;
pub mod telemetry;
pub mod tls;

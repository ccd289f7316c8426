//! `known-cluster`: whether Tally, installed by its own manifests in a whole Kubernetes, is right.
//!
//! ```text
//! kubectl   objects of the API server, and commands in pods
//! kubelet   what the kubelet says of the same pods, with its own times
//! tally     what the aggregator answers, at its service's address
//! privilege what the agent reads with its pod's rights, beside what it reads with all
//! story     what happens one after the other, and what must be right after each
//! usage     the same, of the resource metrics API
//! telling   the story under way: checks that are made again and again
//! ```
//! It runs in the node's network: see `tests/setup/kube-node-run`.

pub mod kubectl;
pub mod kubelet;
pub mod numbers;
pub mod privilege;
pub mod story;
pub mod tally;
pub mod telling;
mod usage;

//! The host as files: where its hierarchies are mounted, directories that are watched, and files that
//! are held open and read again each tick. Bytes only; what they mean is `parse`'s matter.
//!
//! Anything may vanish between listing and reading, be forbidden, or be unknown to this kernel. That is
//! normal here: a vanished directory is [`files::Gone`], everything else is an absent value, and what
//! could not be read although it exists is kept in [`unreadable`] with its reason.

pub mod descriptors;
pub mod facts;
pub mod files;
pub mod mounts;
pub mod tree;
pub mod unreadable;

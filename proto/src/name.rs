//! Names, each with a type of its own, checked once where it enters.
//!
//! An aggregator keeps several for each of a million entities, so a name is one pointer: its
//! length is with its text.

mod id;

use std::{borrow::Borrow, collections::HashSet, fmt, ops::Deref};

use arcstr::ArcStr;

pub use self::id::{ContainerId, PodUid};
use crate::limits::{IMAGE_BYTES, NAME_BYTES, PATH_BYTES};

/// Text that is no name of its kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// A name is never empty.
    #[error("it is empty")]
    Empty,
    /// Longer than its kind may be.
    #[error("it has {bytes} bytes, at most {most} are allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
        /// The limit.
        most: usize,
    },
    /// Control characters would break logs and terminals.
    #[error("it contains a control character")]
    Control,
}

fn checked(text: &str, most: usize) -> Result<ArcStr, BadName> {
    if text.is_empty() {
        return Err(BadName::Empty);
    }
    if most < text.len() {
        return Err(BadName::TooLong { bytes: text.len(), most });
    }
    if text.chars().any(char::is_control) {
        return Err(BadName::Control);
    }
    Ok(text.into())
}

/// Texts that many names have, each kept once.
#[derive(Debug, Default)]
pub struct Names(HashSet<ArcStr>);

impl Names {
    fn share(&mut self, text: &mut ArcStr) {
        match self.0.get(text) {
            Some(known) => *text = ArcStr::clone(known),
            None => {
                self.0.insert(ArcStr::clone(text));
            }
        }
    }

    /// Forgets what nobody else has any longer.
    pub fn sweep(&mut self) {
        self.0.retain(|text| ArcStr::strong_count(text).is_none_or(|holders| 1 < holders));
    }
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $most:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(ArcStr);

        impl $name {
            /// Checks the text: not empty, not too long, no control characters.
            pub fn parse(text: &str) -> Result<Self, BadName> {
                checked(text, $most).map(Self)
            }

            /// As [`parse`](Self::parse), but the empty text is an absent name.
            pub fn parse_optional(text: &str) -> Result<Option<Self>, BadName> {
                if text.is_empty() { Ok(None) } else { Self::parse(text).map(Some) }
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Takes its text from those of `names`, where it is one of them.
            pub fn share(&mut self, names: &mut Names) {
                names.share(&mut self.0);
            }
        }

        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
                out.write_str(&self.0)
            }
        }
    )*};
}

names! {
    /// Name of a node.
    NodeName: NAME_BYTES;
    /// Name of a namespace.
    NamespaceName: NAME_BYTES;
    /// Name of a pod.
    PodName: NAME_BYTES;
    /// Name of a container; of a free container without a runtime's name, its cgroup path.
    ContainerName: PATH_BYTES;
    /// Path of a cgroup below its hierarchy's root, as in /proc/PID/cgroup; `/` is the root.
    CgroupPath: PATH_BYTES;
    /// An image, as the runtime or the pod's specification names it.
    ImageName: IMAGE_BYTES;
    /// Kind of what owns pods, in small letters: `deployment`.
    WorkloadKind: NAME_BYTES;
    /// Name of what owns pods.
    WorkloadName: NAME_BYTES;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_names_share_their_text_for_as_long_as_anyone_has_it() {
        let mut names = Names::default();
        let shared = |names: &mut Names| {
            let mut name = NodeName::parse("node-a").unwrap();
            name.share(names);
            name
        };
        let (first, second) = (shared(&mut names), shared(&mut names));
        assert!(ArcStr::ptr_eq(&first.0, &second.0));
        drop(first);
        names.sweep();
        assert_eq!(names.0.len(), 1);
        drop(second);
        names.sweep();
        assert!(names.0.is_empty());
    }

    #[test]
    fn a_name_is_neither_empty_nor_long_nor_dirty() {
        assert_eq!(NodeName::parse(""), Err(BadName::Empty));
        assert_eq!(NodeName::parse_optional(""), Ok(None));
        assert_eq!(
            NodeName::parse(&"x".repeat(254)),
            Err(BadName::TooLong { bytes: 254, most: 253 })
        );
        assert_eq!(NodeName::parse("a\nb"), Err(BadName::Control));
        assert_eq!(NodeName::parse("node-a").unwrap().as_str(), "node-a");
    }
}

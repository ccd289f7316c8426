//! Names, each with a type of its own, checked once where it enters.

use std::{borrow::Borrow, fmt, ops::Deref, sync::Arc};

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

fn checked(text: &str, most: usize) -> Result<Arc<str>, BadName> {
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

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident: $most:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

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
    /// What tells two pods of one name apart. Usually a UUID, but mirror pods have other forms.
    PodUid: NAME_BYTES;
    /// A runtime's id of a container, mostly 64 hexadecimal digits.
    ContainerId: NAME_BYTES;
    /// Path of a cgroup below its hierarchy's root, as in /proc/PID/cgroup; `/` is the root.
    CgroupPath: PATH_BYTES;
    /// An image, as the runtime or the pod's specification names it.
    ImageName: IMAGE_BYTES;
}

#[cfg(test)]
mod tests {
    use super::*;

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

//! The objects that are watched, as the `kube` crate needs them.

use std::borrow::Cow;

use kube::{
    Resource,
    core::{DynamicResourceScope, ObjectMeta},
};
use serde::{Deserialize, Deserializer};

use crate::inventory::{Object, feed::Kind};

/// One object, trimmed as it is read: managed fields, most annotations, conditions, volumes,
/// environments and probes are most of what an API server sends, and never in memory.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    /// Of which only the version is used, to go on from there.
    metadata: ObjectMeta,
    object: Object,
}

impl Watched {
    /// The object itself.
    pub(super) fn into_object(self) -> Object {
        self.object
    }
}

impl<'de> Deserialize<'de> for Watched {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Object::deserialize(deserializer)?;
        let metadata = ObjectMeta {
            name: Some(object.name().to_owned()),
            resource_version: Some(object.resource_version().to_owned()),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, object })
    }
}

impl Resource for Watched {
    type DynamicType = Kind;
    type Scope = DynamicResourceScope;

    fn kind(kind: &Kind) -> Cow<'_, str> {
        Cow::Borrowed(match kind {
            Kind::Node => "Node",
            Kind::Namespace => "Namespace",
            Kind::Pod => "Pod",
        })
    }

    fn group(_: &Kind) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn version(_: &Kind) -> Cow<'_, str> {
        Cow::Borrowed("v1")
    }

    fn plural(kind: &Kind) -> Cow<'_, str> {
        Cow::Borrowed(match kind {
            Kind::Node => "nodes",
            Kind::Namespace => "namespaces",
            Kind::Pod => "pods",
        })
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

//! The part of the Container Runtime Interface that tells of layers and images, and what it means.
//!
//! `runtime.v1` and `runtime.v1alpha2` give these messages the same numbers. Fields that are not read
//! are left out.

use std::collections::HashMap;

use prost::Message;
use tally_proto::name::ContainerId;

use super::Layer;

/// Asks for all containers.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListContainerStatsRequest {}

/// Containers that run.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ListContainerStatsResponse {
    /// In no order.
    #[prost(message, repeated, tag = "1")]
    pub stats: Vec<ContainerStats>,
}

/// One container.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerStats {
    /// Which.
    #[prost(message, optional, tag = "1")]
    pub attributes: Option<ContainerAttributes>,
    /// Its writable layer.
    #[prost(message, optional, tag = "4")]
    pub writable_layer: Option<FilesystemUsage>,
}

/// Which container it is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ContainerAttributes {
    /// Its id.
    #[prost(string, tag = "1")]
    pub id: String,
}

/// How much of a filesystem something takes.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FilesystemUsage {
    /// When that was measured, in nanoseconds since the epoch; containerd says 0 of what it did not
    /// measure yet.
    #[prost(int64, tag = "1")]
    pub timestamp: i64,
    /// Of which filesystem.
    #[prost(message, optional, tag = "2")]
    pub filesystem: Option<FilesystemIdentifier>,
    /// Bytes.
    #[prost(message, optional, tag = "3")]
    pub used_bytes: Option<UInt64Value>,
}

/// Which filesystem it is.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct FilesystemIdentifier {
    /// A directory in it.
    #[prost(string, tag = "1")]
    pub mount_point: String,
}

/// A number that may be absent.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct UInt64Value {
    /// It.
    #[prost(uint64, tag = "1")]
    pub value: u64,
}

/// Asks for the filesystems of images.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ImageFsInfoRequest {}

/// Filesystems of images.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct ImageFsInfoResponse {
    /// Mostly one.
    #[prost(message, repeated, tag = "1")]
    pub image_filesystems: Vec<FilesystemUsage>,
}

/// The layers of everybody in the list.
pub fn layers(stats: Vec<ContainerStats>) -> HashMap<ContainerId, Option<Layer>> {
    let one = |stats: ContainerStats| {
        let id = ContainerId::parse(&stats.attributes?.id).ok()?;
        Some((id, stats.writable_layer.and_then(layer)))
    };
    stats.into_iter().filter_map(one).collect()
}

fn layer(usage: FilesystemUsage) -> Option<Layer> {
    let used_bytes = measured(&usage)?;
    let filesystem = usage.filesystem.unwrap_or_default().mount_point.into();
    Some(Layer { used_bytes, filesystem })
}

/// What all images take, if that is known of all.
pub fn images_bytes(filesystems: &[FilesystemUsage]) -> Option<u64> {
    let (first, others) = filesystems.split_first()?;
    others.iter().try_fold(measured(first)?, |sum, next| sum.checked_add(measured(next)?))
}

fn measured(usage: &FilesystemUsage) -> Option<u64> {
    let used = usage.used_bytes.filter(|_| 0 < usage.timestamp);
    used.map(|used| used.value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn usage(timestamp: i64, used: Option<u64>) -> FilesystemUsage {
        FilesystemUsage {
            timestamp,
            filesystem: Some(FilesystemIdentifier { mount_point: "/disk".to_owned() }),
            used_bytes: used.map(|value| UInt64Value { value }),
        }
    }

    #[track_caller]
    fn check(usage: Option<FilesystemUsage>, expected: Option<u64>) {
        let attributes = Some(ContainerAttributes { id: "a".to_owned() });
        let layers = layers(vec![ContainerStats { attributes, writable_layer: usage }]);
        let found = &layers[&ContainerId::parse("a").unwrap()];
        assert_eq!(found.as_ref().map(|layer| layer.used_bytes), expected);
        assert!(found.iter().all(|layer| &*layer.filesystem == "/disk"));
    }

    #[test]
    fn a_layer_that_was_not_measured_yet_is_not_empty() {
        check(Some(usage(1, Some(8192))), Some(8192));
        check(Some(usage(1, Some(0))), Some(0));
        check(Some(usage(0, Some(0))), None);
        check(Some(usage(1, None)), None);
        check(None, None);
    }

    #[test]
    fn images_of_all_filesystems_add_up() {
        let (one, two, unknown) = (usage(1, Some(10)), usage(1, Some(5)), usage(0, Some(3)));
        assert_eq!(images_bytes(&[]), None);
        assert_eq!(images_bytes(std::slice::from_ref(&one)), Some(10));
        assert_eq!(images_bytes(&[one.clone(), two]), Some(15));
        assert_eq!(images_bytes(&[one, unknown]), None);
    }

    #[test]
    fn one_without_an_id_is_left_out() {
        assert!(layers(vec![ContainerStats::default()]).is_empty());
        let attributes = Some(ContainerAttributes::default());
        assert!(layers(vec![ContainerStats { attributes, writable_layer: None }]).is_empty());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read(bytes: Vec<u8>) {
            if let Ok(answer) = ListContainerStatsResponse::decode(&*bytes) {
                let count = answer.stats.len();
                prop_assert!(layers(answer.stats).len() <= count);
            }
            if let Ok(answer) = ImageFsInfoResponse::decode(&*bytes) {
                images_bytes(&answer.image_filesystems);
            }
        }
    }
}

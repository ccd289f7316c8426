//! What Docker and podman say of where a container's files are.
//!
//! Their own figure for a layer (`size=true`) has the daemon walk every layer at each question, with no
//! bound and at full speed; so only the places are asked for, once a container, and walked as volumes
//! are.

use serde_json::Value;
use tally_proto::name::ContainerId;

use super::ContainerPaths;

/// The path of the list of containers that run.
pub const LIST: &str = "/containers/json";

/// The path of all that is known of one.
pub fn path(id: &ContainerId) -> String {
    format!("/containers/{id}/json")
}

/// Ids of the containers in the list; `None` when it is no list.
pub fn ids(list: &[u8]) -> Option<Vec<ContainerId>> {
    let list: Value = serde_json::from_slice(list).ok()?;
    let one = |container: &Value| ContainerId::parse(container.get("Id")?.as_str()?).ok();
    Some(list.as_array()?.iter().filter_map(one).collect())
}

/// Where the files of a container are; what has no path of the host has none here.
pub fn paths(container: &[u8]) -> Option<ContainerPaths> {
    let container: Value = serde_json::from_slice(container).ok()?;
    let absolute = |pointer: &str| {
        let path = container.pointer(pointer)?.as_str()?;
        let is_plain = path.starts_with('/') && path.split('/').all(|name| name != "..");
        (is_plain && !path.contains('\0')).then(|| path.into())
    };
    Some(ContainerPaths {
        layer: absolute("/GraphDriver/Data/UpperDir"),
        // Podman writes it where Docker has its options.
        log: absolute("/LogPath").or_else(|| absolute("/HostConfig/LogConfig/Path")),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(container: &str, layer: Option<&str>, log: Option<&str>) {
        let expected = ContainerPaths { layer: layer.map(Into::into), log: log.map(Into::into) };
        assert_eq!(paths(container.as_bytes()), Some(expected));
    }

    #[test]
    fn docker_and_podman_tell_of_layer_and_log() {
        let docker = r#"{"Id":"a","LogPath":"/var/lib/docker/containers/a/a-json.log","GraphDriver":
            {"Name":"overlay2","Data":{"UpperDir":"/var/lib/docker/overlay2/b/diff"}}}"#;
        let log = "/var/lib/docker/containers/a/a-json.log";
        check(docker, Some("/var/lib/docker/overlay2/b/diff"), Some(log));
        let podman = r#"{"LogPath":"","HostConfig":{"LogConfig":{"Path":"/c/ctr.log"}},
            "GraphDriver":{"Data":{"UpperDir":"/o/diff"}}}"#;
        check(podman, Some("/o/diff"), Some("/c/ctr.log"));
    }

    #[test]
    fn other_drivers_have_no_such_places() {
        check(r#"{"LogPath":"","GraphDriver":{"Name":"btrfs","Data":null}}"#, None, None);
        check("{}", None, None);
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_none() {
        for path in ["relative", "/a/../../etc", "..", "", "/a\\u0000b"] {
            let text = format!(r#"{{"GraphDriver":{{"Data":{{"UpperDir":"{path}"}}}}}}"#);
            check(&text, None, None);
        }
    }

    #[test]
    fn a_list_has_ids() {
        let found = ids(br#"[{"Id":"a","Names":[]},{"Id":""},{},7]"#).unwrap();
        assert_eq!(found, [ContainerId::parse("a").unwrap()]);
        assert_eq!(ids(b"{}"), None);
        assert_eq!(ids(b"["), None);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_refused_or_read(bytes: Vec<u8>) {
            ids(&bytes);
            paths(&bytes);
        }
    }
}

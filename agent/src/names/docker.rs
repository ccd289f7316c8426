//! Docker's list of containers, which podman answers too, and what it means.

use std::collections::HashMap;

use serde_json::Value;
use tally_proto::name::{ContainerId, ContainerName, ImageName};

use super::Called;

/// An answer that is no list of containers.
#[derive(Debug, thiserror::Error)]
pub enum BadList {
    /// It is no JSON.
    #[error("the list of containers is not JSON")]
    Json(#[from] serde_json::Error),
    /// It is something else.
    #[error("the list of containers is no list")]
    NoList,
}

/// The path of the list with only these ids in it; with all where there are none. Containers that
/// do not run are in it: a new one has its cgroup before it counts as running.
pub fn path(ids: &[ContainerId]) -> String {
    if ids.is_empty() {
        return "/containers/json?all=true".to_owned();
    }
    let quoted: Vec<String> = ids.iter().map(|id| format!("%22{id}%22")).collect();
    format!("/containers/json?all=true&filters=%7B%22id%22%3A%5B{}%5D%7D", quoted.join("%2C"))
}

/// What everybody in the list is called. Whoever has no name of the allowed form is left out.
pub fn called(list: &[u8]) -> Result<HashMap<ContainerId, Called>, BadList> {
    let list: Value = serde_json::from_slice(list)?;
    let list = list.as_array().ok_or(BadList::NoList)?;
    Ok(list.iter().filter_map(one).collect())
}

fn one(container: &Value) -> Option<(ContainerId, Called)> {
    let text = |key: &str| container.get(key)?.as_str();
    let id = ContainerId::parse(text("Id")?).ok()?;
    // Others that link to it give it names below their own: `/web/db`.
    let mut names = container.get("Names")?.as_array()?.iter().filter_map(Value::as_str);
    let name = names.find_map(|name| {
        let name = name.strip_prefix('/').unwrap_or(name);
        if name.contains('/') { None } else { ContainerName::parse(name).ok() }
    })?;
    let image = text("Image").and_then(|image| ImageName::parse(image).ok());
    Some((id, Called::Free { name, image }))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(list: &str, expected: &[(&str, &str)]) {
        let mut found: Vec<(String, String)> = called(list.as_bytes())
            .unwrap()
            .into_values()
            .map(|called| match called {
                Called::Free { name, image } => {
                    (name.to_string(), image.map_or_else(String::new, |image| image.to_string()))
                }
                other => panic!("{other:?}"),
            })
            .collect();
        found.sort();
        let expected: Vec<(String, String)> = expected
            .iter()
            .map(|(name, image)| ((*name).to_owned(), (*image).to_owned()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn recorded_answers_name_containers() {
        let docker = include_str!("../../tests/answers/docker-20.10.json");
        check(docker, &[("burner", "busybox:1"), ("linked", "busybox:1"), ("made", "other:1")]);
        let podman = include_str!("../../tests/answers/podman-4.3.json");
        check(podman, &[("web", "localhost/busybox:1")]);
    }

    #[test]
    fn whoever_has_no_name_is_left_out() {
        check(r#"[{"Id":"a"},{"Names":["/a"]},{"Id":"b","Names":[]},7]"#, &[]);
        check(r#"[{"Id":"a","Names":["/other/a"]}]"#, &[]);
        check(r#"[{"Id":"a","Names":["/b"],"Image":""}]"#, &[("b", "")]);
    }

    #[test]
    fn what_is_no_list_is_refused() {
        assert!(matches!(called(b"{"), Err(BadList::Json(_))));
        assert!(matches!(called(b"{}"), Err(BadList::NoList)));
    }

    #[test]
    fn the_path_asks_for_those_alone() {
        let id = |text| ContainerId::parse(text).unwrap();
        assert_eq!(path(&[]), "/containers/json?all=true");
        assert_eq!(
            path(&[id("a"), id("b")]),
            "/containers/json?all=true&filters=%7B%22id%22%3A%5B%22a%22%2C%22b%22%5D%7D"
        );
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
            drop(called(&bytes));
        }
    }
}

//! What `tally-agent --once` takes containers, pods and units for.

use std::{path::Path, process::Command};

use anyhow::{Context as _, ensure};
use serde_json::Value;

use super::{agent::text, checks::Check};

/// What the agent prints.
pub fn once(agent: &Path) -> anyhow::Result<Value> {
    let output = Command::new(agent).arg("--once").output();
    let output = output.with_context(|| agent.display().to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{} --once: {}: {errors}", agent.display(), output.status);
    serde_json::from_slice(&output.stdout).context("what tally-agent --once prints")
}

/// Each of `expected`, such as `kind=pod,pod_uid=…`, is there exactly once, and nothing was unreadable.
pub fn checks(printed: &Value, expected: &[String]) -> Vec<Check> {
    let entities = printed.get("entities").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let mut checks: Vec<Check> = expected
        .iter()
        .map(|expected| {
            let found = entities.iter().filter(|entity| is_like(entity, expected)).count();
            Check::new(found == 1, format!("--once shows {expected}: {found}"))
        })
        .collect();
    let unreadable = printed.get("unreadable").unwrap_or(&Value::Null);
    let is_empty = unreadable.as_array().is_some_and(Vec::is_empty);
    checks.push(Check::new(is_empty, format!("--once names what it could not read: {unreadable}")));
    checks
}

fn is_like(entity: &Value, expected: &str) -> bool {
    expected
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .all(|(field, value)| text(entity, field) == Some(value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn passed(expected: &str) -> bool {
        let printed = json!({
            "entities": [
                { "kind": "pod", "pod_uid": "a" },
                { "kind": "pod_container", "pod_uid": "a", "container_id": "1" },
                { "kind": "pod_container", "pod_uid": "a", "container_id": "2" },
            ],
            "unreadable": [],
        });
        checks(&printed, &[expected.to_owned()]).iter().all(|check| check.passed)
    }

    #[test]
    fn an_entity_is_there_exactly_once() {
        assert!(passed("kind=pod,pod_uid=a"));
        assert!(passed("kind=pod_container,container_id=2"));
        assert!(!passed("kind=pod_container,pod_uid=a"));
        assert!(!passed("kind=pod,pod_uid=b"));
        assert!(!passed("kind=pod,runtime=docker"));
    }

    #[test]
    fn what_was_unreadable_is_told() {
        assert!(
            !checks(&json!({ "entities": [], "unreadable": ["x"] }), &[])
                .iter()
                .all(|check| check.passed)
        );
    }
}

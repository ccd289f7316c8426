//! What a pod belongs to, from what its own object says.
//!
//! A pod names the one object that controls it, and that is often not the one that people made: a
//! ReplicaSet stands between it and its Deployment, a Job between it and its CronJob. Both name
//! what they make in a known way, so neither needs to be watched: a Deployment's ReplicaSets are
//! called NAME-HASH with the hash in a label of their pods, a CronJob's Jobs NAME-TIME with the time
//! that they were due at.

use std::{collections::BTreeMap, sync::Arc};

use serde::Deserialize;
use tally_proto::{
    name::{BadName, WorkloadKind, WorkloadName},
    tick::UnixMs,
};

use super::Workload;

const TEMPLATE_HASH: &str = "pod-template-hash";

/// A Job's last pod is made at most this long after the Job was due: its retries end before.
const JOB_LIFE_MS: i64 = 30 * 86_400_000;

/// A CronJob's clock may be this much ahead of the API server's.
const CLOCK_SKEW_MS: i64 = 600_000;

/// One entry of `metadata.ownerReferences`.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct OwnerReference {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

/// The workload of a pod with these owners and labels, made at `created`.
pub(super) fn workload(
    owners: &[OwnerReference],
    labels: &BTreeMap<String, String>,
    created: Option<UnixMs>,
) -> Result<Option<Arc<Workload>>, BadName> {
    let Some(OwnerReference { kind, name, .. }) = owners.iter().find(|owner| owner.controller)
    else {
        return Ok(None);
    };
    let (kind, name) = match kind.as_str() {
        // A static pod's mirror belongs to its node.
        "Node" => return Ok(None),
        "ReplicaSet" => match labels.get(TEMPLATE_HASH).and_then(|hash| before(name, hash)) {
            Some(deployment) => ("deployment".to_owned(), deployment),
            None => ("replicaset".to_owned(), name.as_str()),
        },
        "Job" => match created.and_then(|created| cron_job(name, created)) {
            Some(cron_job) => ("cronjob".to_owned(), cron_job),
            None => ("job".to_owned(), name.as_str()),
        },
        _ => (kind.to_lowercase(), name.as_str()),
    };
    let (kind, name) = (WorkloadKind::parse(&kind)?, WorkloadName::parse(name)?);
    Ok(Some(Arc::new(Workload { kind, name })))
}

/// What stands before `-suffix`.
fn before<'a>(name: &'a str, suffix: &str) -> Option<&'a str> {
    let name = name.strip_suffix(suffix)?.strip_suffix('-')?;
    (!name.is_empty()).then_some(name)
}

/// The CronJob whose Job has this name: since 1.21 the time is in minutes, before it was in seconds.
/// Other digits, a date say, are no time shortly before the pod was made.
fn cron_job(job: &str, created: UnixMs) -> Option<&str> {
    let (name, digits) = job.rsplit_once('-')?;
    if name.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let unit_ms = match digits.len() {
        8 => 60_000,
        10 => 1_000,
        _ => return None,
    };
    let due = UnixMs(digits.parse::<i64>().ok()?.checked_mul(unit_ms)?);
    (-CLOCK_SKEW_MS..=JOB_LIFE_MS).contains(&created.since(due)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CREATED: UnixMs = UnixMs(1_795_423_525_000);

    #[track_caller]
    fn check(kind: &str, name: &str, hash: Option<&str>, expected: Option<(&str, &str)>) {
        let owner = |kind: &str, name: &str, controller| OwnerReference {
            kind: kind.to_owned(),
            name: name.to_owned(),
            controller,
        };
        let owners = [owner("Other", "other", false), owner(kind, name, true)];
        let labels = hash.map(|hash| (TEMPLATE_HASH.to_owned(), hash.to_owned()));
        let labels = BTreeMap::from_iter(labels);
        let found = workload(&owners, &labels, Some(CREATED)).unwrap();
        let found = found.as_ref().map(|found| (found.kind.as_str(), found.name.as_str()));
        assert_eq!(found, expected);
    }

    #[test]
    fn a_replica_set_of_a_deployment_is_called_after_it_and_the_template() {
        check("ReplicaSet", "web-5d59d67564", Some("5d59d67564"), Some(("deployment", "web")));
        check("ReplicaSet", "web-5d59d67564", None, Some(("replicaset", "web-5d59d67564")));
        check("ReplicaSet", "web-a", Some("b"), Some(("replicaset", "web-a")));
        check("ReplicaSet", "-a", Some("a"), Some(("replicaset", "-a")));
    }

    #[test]
    fn a_job_of_a_cron_job_is_called_after_it_and_the_time_it_was_due() {
        check("Job", "backup-29923725", None, Some(("cronjob", "backup")));
        check("Job", "backup-1795423500", None, Some(("cronjob", "backup")));
        check("Job", "backup-20261123", None, Some(("job", "backup-20261123")));
        check("Job", "backup-29823725", None, Some(("job", "backup-29823725")));
        check("Job", "29923725", None, Some(("job", "29923725")));
        check("Job", "backup", None, Some(("job", "backup")));
    }

    #[test]
    fn other_kinds_are_as_they_are_and_a_node_is_none() {
        check("StatefulSet", "db", None, Some(("statefulset", "db")));
        check("DaemonSet", "log", Some("x"), Some(("daemonset", "log")));
        check("Rollout", "shop", None, Some(("rollout", "shop")));
        check("Node", "node-a", None, None);
    }

    #[test]
    fn who_does_not_control_a_pod_does_not_count() {
        let owners =
            [OwnerReference { kind: "Job".to_owned(), name: "a".to_owned(), controller: false }];
        assert_eq!(workload(&owners, &BTreeMap::new(), None), Ok(None));
    }
}

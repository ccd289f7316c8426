//! Pods that are gone, for frames that come late: an agent that was cut off still says what its
//! pods used before they went, and only the API server knew their names, requests and limits.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tally_proto::{name::PodUid, tick::UnixMs};

use super::PodRecord;

/// How long they are remembered: agents are seldom cut off for longer.
const KEPT_MS: i64 = 3_600_000;

/// How many at most, the newest: 10 MB. Beyond that their late frames lack what only the API
/// server knew.
const KEPT: usize = 10_000;

/// Pods that are gone.
#[derive(Debug, Default)]
pub(super) struct Gone {
    pods: HashMap<PodUid, (Arc<PodRecord>, UnixMs)>,
    /// In the order in which they went. One that went again is here twice.
    order: VecDeque<(UnixMs, PodUid)>,
}

impl Gone {
    /// One that is gone since `at`.
    pub(super) fn add(&mut self, pod: Arc<PodRecord>, at: UnixMs) {
        for uid in [Some(&pod.uid), pod.static_uid.as_ref()].into_iter().flatten() {
            self.pods.insert(uid.clone(), (Arc::clone(&pod), at));
            self.order.push_back((at, uid.clone()));
        }
        while KEPT < self.order.len() {
            self.forget_first();
        }
    }

    /// Forgets what went long ago.
    pub(super) fn sweep(&mut self, now: UnixMs) {
        while self.order.front().is_some_and(|(at, _)| KEPT_MS < now.since(*at)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((at, uid)) = self.order.pop_front()
            && self.pods.get(&uid).is_some_and(|(_, last)| *last == at)
        {
            self.pods.remove(&uid);
        }
    }

    /// The pod of that uid, and since when it is gone.
    pub(super) fn get(&self, uid: &PodUid) -> Option<(&Arc<PodRecord>, UnixMs)> {
        self.pods.get(uid).map(|(pod, at)| (pod, *at))
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::{
        declaration::PodKey,
        name::{NamespaceName, PodName},
    };

    use super::*;

    fn pod(number: usize) -> Arc<PodRecord> {
        Arc::new(PodRecord {
            key: PodKey {
                namespace: NamespaceName::parse("shop").unwrap(),
                name: PodName::parse("web").unwrap(),
            },
            uid: uid(number),
            static_uid: None,
            node: None,
            workload: None,
            labels: "".into(),
            own_labels: "".into(),
            stored_labels: None,
            containers: Box::default(),
            helpers: Box::default(),
        })
    }

    fn uid(number: usize) -> PodUid {
        PodUid::parse(&format!("uid-{number}")).unwrap()
    }

    #[test]
    fn they_are_remembered_for_an_hour_and_the_newest_of_too_many() {
        let mut gone = Gone::default();
        gone.add(pod(0), UnixMs(0));
        gone.add(pod(1), UnixMs(1));
        gone.add(pod(0), UnixMs(2));
        gone.sweep(UnixMs(KEPT_MS + 1));
        assert_eq!(gone.get(&uid(0)).map(|(_, at)| at), Some(UnixMs(2)), "it went again");
        gone.sweep(UnixMs(KEPT_MS + 2));
        assert!(gone.get(&uid(1)).is_none() && gone.get(&uid(0)).is_some());
        for number in 0..KEPT {
            gone.add(pod(10 + number), UnixMs(9));
        }
        assert!(gone.get(&uid(0)).is_none() && gone.get(&uid(10)).is_some());
        gone.sweep(UnixMs(KEPT_MS + 10));
        assert!(gone.pods.is_empty() && gone.order.is_empty());
    }
}

//! The keys of all entities, sorted, as JSON: kept from one question to the next.
//!
//! In a large cluster they are megabytes of text, and between two questions few pods come or go.
//! So the text stays. A question first compares the rosters it was made from with those that are
//! present; the keys that came and went since are cut out of the text and put into it, what is
//! between them is copied as it is. Nothing tells the list when something changes, so nothing can
//! forget to.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use tally_proto::{
    entity::Entity,
    name::{NamespaceName, NodeName},
};

use crate::roster::Roster;

/// A node that is present, with its entities.
pub(super) type Present = (NodeName, Arc<Roster>);

/// The keys of the entities of some rosters.
#[derive(Debug, Default)]
pub(super) struct KeyList {
    /// Whose entities they are, sorted by node.
    rosters: Vec<Present>,
    /// Keys that several rosters have, namespaces and the cluster most of all: how many more than
    /// one.
    repeated: HashMap<String, i64>,
    /// A JSON array without spaces.
    json: Bytes,
    /// Where the quotation mark before each key is.
    starts: Vec<usize>,
}

/// A key that the text gets or loses, before the key at a place or at it.
enum Edit {
    Insert(usize, String),
    Remove(usize),
}

impl KeyList {
    /// Brings the list up to date with all rosters that are present, sorted by node.
    pub(super) fn update(&mut self, present: Vec<Present>) -> Bytes {
        let same = |(one, other): (&Present, &Present)| Arc::ptr_eq(&one.1, &other.1);
        let unchanged =
            self.rosters.len() == present.len() && self.rosters.iter().zip(&present).all(same);
        if !unchanged || self.json.is_empty() {
            let edits = self.edits(&present);
            self.edit(edits);
            self.rosters = present;
        }
        self.json.clone()
    }

    /// What differs between the rosters so far and those that are `present`, sorted by key.
    fn edits(&mut self, present: &[Present]) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (key, more) in differences(&self.rosters, present) {
            let place = self.place(&key);
            let others = self.repeated.get(&key).copied().unwrap_or(0);
            let before = if place.is_ok() { others + 1 } else { 0 };
            let after = before + more;
            if 1 < after {
                self.repeated.insert(key.clone(), after - 1);
            } else if 0 < others {
                self.repeated.remove(&key);
            }
            match place {
                Err(place) if 0 < after => edits.push(Edit::Insert(place, key)),
                Ok(place) if after <= 0 => edits.push(Edit::Remove(place)),
                _ => (),
            }
        }
        edits
    }

    /// Where a key is in the list, or would be.
    fn place(&self, key: &str) -> Result<usize, usize> {
        let ends = |start: usize| self.json.get(start..).unwrap_or_default();
        self.starts.binary_search_by(|start| compare(ends(*start), key))
    }

    fn edit(&mut self, edits: Vec<Edit>) {
        let inserted = edits.iter().map(|edit| match edit {
            Edit::Insert(_, key) => (key.len() + 3, 1),
            Edit::Remove(_) => (0, 0),
        });
        let (bytes, keys) = inserted.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
        let mut text = Text {
            json: Vec::with_capacity(self.json.len() + bytes + 2),
            starts: Vec::with_capacity(self.starts.len() + keys),
        };
        text.json.push(b'[');
        let mut next = 0;
        for edit in edits {
            match edit {
                Edit::Insert(place, key) => {
                    text.copy(self, next, place);
                    text.push(&key);
                    next = place;
                }
                Edit::Remove(place) => {
                    text.copy(self, next, place);
                    next = place + 1;
                }
            }
        }
        text.copy(self, next, self.starts.len());
        if !text.starts.is_empty() {
            text.json.pop();
        }
        text.json.push(b']');
        (self.json, self.starts) = (text.json.into(), text.starts);
    }
}

/// A list that is being made: each key with a comma behind it.
struct Text {
    json: Vec<u8>,
    starts: Vec<usize>,
}

impl Text {
    /// Copies the keys of a list from `first` up to, not with, `end`.
    fn copy(&mut self, from: &KeyList, first: usize, end: usize) {
        let Some(starts) = from.starts.get(first..end) else { return };
        let Some(begin) = starts.first() else { return };
        let stop = from.starts.get(end).copied().unwrap_or(from.json.len());
        let at = self.json.len();
        self.starts.extend(starts.iter().map(|start| start - begin + at));
        self.json.extend_from_slice(from.json.get(*begin..stop).unwrap_or_default());
        // Behind the last key of a list is its end.
        if let Some(last) = self.json.last_mut() {
            *last = b',';
        }
    }

    fn push(&mut self, key: &str) {
        self.starts.push(self.json.len());
        // A text always has a JSON form, and a vector takes all of it.
        serde_json::to_writer(&mut self.json, key).ok();
        self.json.push(b',');
    }
}

/// Compares a key of the list, from its quotation mark on, with another.
fn compare(json: &[u8], key: &str) -> Ordering {
    let mut rest = json.iter().copied().skip(1);
    // Names have no control characters, so a backslash only stands before another or a quote.
    let unescaped = std::iter::from_fn(|| match rest.next()? {
        b'"' => None,
        b'\\' => rest.next(),
        byte => Some(byte),
    });
    unescaped.cmp(key.bytes())
}

/// How many more rosters have a key: those of one node are compared by themselves.
fn differences(before: &[Present], after: &[Present]) -> BTreeMap<String, i64> {
    let mut all = BTreeMap::new();
    let (mut before, mut after) = (before.iter().peekable(), after.iter().peekable());
    loop {
        let order = match (before.peek(), after.peek()) {
            (Some((gone, _)), Some((come, _))) => gone.cmp(come),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => break,
        };
        let gone = if order.is_le() { before.next() } else { None };
        let come = if order.is_ge() { after.next() } else { None };
        let same = gone.zip(come).is_some_and(|(gone, come)| Arc::ptr_eq(&gone.1, &come.1));
        if !same {
            let gone = gone.into_iter().flat_map(keys).map(|key| (key, -1));
            let come = come.into_iter().flat_map(keys).map(|key| (key, 1));
            for (key, more) in gone.chain(come) {
                *all.entry(key.to_string()).or_insert(0) += more;
            }
        }
    }
    all.retain(|_, more| *more != 0);
    all
}

/// The entities of a node, the namespaces of its pods, and the cluster.
pub(super) fn keys((node, roster): &Present) -> impl Iterator<Item = Entity> {
    let free = roster.free_containers.iter();
    let free = free.map(|one| Entity::FreeContainer(node.clone(), one.name.clone()));
    let mut namespaces: Vec<&NamespaceName> =
        roster.pods.iter().map(|pod| &pod.key.namespace).collect();
    namespaces.dedup();
    let namespaces = namespaces.into_iter().cloned().map(Entity::Namespace);
    let pods = roster.pods.iter().flat_map(|pod| {
        let (namespace, name) = (&pod.key.namespace, &pod.key.name);
        let containers = pod.containers.iter().map(|container| {
            Entity::PodContainer(namespace.clone(), name.clone(), container.name.clone())
        });
        [Entity::Pod(namespace.clone(), name.clone())].into_iter().chain(containers)
    });
    [Entity::Cluster, Entity::Node(node.clone())]
        .into_iter()
        .chain(free)
        .chain(namespaces)
        .chain(pods)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use tally_proto::{
        declaration::{EntityNumber, PodKey},
        name::{ContainerName, PodName, PodUid},
    };

    use super::*;
    use crate::roster::{FreeContainer, Pod, PodContainer};

    const NAMES: [&str; 5] = ["a", "a-b", "a\"b", "a\\", "b/é"];

    fn pod(namespace: &str, name: &str, container: Option<&str>) -> Pod {
        let containers = container.map(|name| PodContainer {
            name: ContainerName::parse(name).unwrap(),
            row: None,
            record: None,
        });
        Pod {
            key: PodKey {
                namespace: NamespaceName::parse(namespace).unwrap(),
                name: PodName::parse(name).unwrap(),
            },
            uid: PodUid::parse("u").unwrap(),
            namespace_uid: None,
            record: None,
            row: EntityNumber(0),
            containers: containers.into_iter().collect(),
        }
    }

    fn roster() -> impl Strategy<Value = Arc<Roster>> {
        let name = || prop::sample::select(&NAMES[..]);
        let pods = prop::collection::btree_map((name(), name()), prop::option::of(name()), 0..6);
        (pods, prop::option::of(name())).prop_map(|(pods, free)| {
            let pods = pods.into_iter();
            let free = free.map(|name| FreeContainer {
                name: ContainerName::parse(name).unwrap(),
                row: EntityNumber(0),
            });
            Arc::new(Roster {
                pods: pods.map(|((space, name), one)| pod(space, name, one)).collect(),
                free_containers: free.into_iter().collect(),
                ..Roster::default()
            })
        })
    }

    proptest! {
        #[test]
        fn whatever_comes_and_goes_it_is_the_sorted_list(
            steps in prop::collection::vec((0..NAMES.len(), prop::option::of(roster())), 1..20)
        ) {
            let (mut list, mut nodes) = (KeyList::default(), BTreeMap::new());
            prop_assert_eq!(list.update(Vec::new()), "[]");
            for (node, roster) in steps {
                let node = NodeName::parse(NAMES[node]).unwrap();
                match roster {
                    Some(roster) => nodes.insert(node, roster),
                    None => nodes.remove(&node),
                };
                let present: Vec<Present> = nodes.clone().into_iter().collect();
                let expected: BTreeSet<String> =
                    present.iter().flat_map(keys).map(|key| key.to_string()).collect();
                let expected = serde_json::to_string(&expected).unwrap();
                prop_assert_eq!(list.update(present.clone()), expected.clone());
                prop_assert_eq!(list.update(present), expected);
            }
        }
    }

    #[test]
    fn a_list_that_is_up_to_date_is_not_made_again() {
        let node = NodeName::parse("n").unwrap();
        let present = || vec![(node.clone(), Arc::new(Roster::default()))];
        let (mut list, first) = (KeyList::default(), present());
        let json = list.update(first.clone());
        assert_eq!(json.as_ptr(), list.update(first).as_ptr());
        assert_ne!(json.as_ptr(), list.update(present()).as_ptr());
    }
}

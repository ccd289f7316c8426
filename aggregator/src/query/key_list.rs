//! The keys of all entities, or the names of a large namespace's pods, sorted, as JSON: kept from
//! one question to the next.
//!
//! In a large cluster they are megabytes of text, and between two questions few pods come or go.
//! So the text stays, in parts. A question first compares the rosters it was made from with those
//! that are present; the keys that came and went since are cut out of their parts and put into
//! them, all other parts stay. Nothing tells the list when something changes, so nothing can forget
//! to.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use bytes::Bytes;
use rayon::prelude::*;
use tally_proto::{
    entity::Entity,
    name::{NamespaceName, NodeName},
};

use super::text;
use crate::roster::Roster;

/// Bytes of a part: small enough that a pod that comes costs little, large enough that sending many
/// parts does. Tests have many parts of few keys.
const PART_BYTES: usize = if cfg!(test) { 256 } else { 128 << 10 };

/// Lists of pods that are kept at most. Each has its text, some 40 bytes a pod, and holds the rosters
/// that it was made from for as long as it is asked for: of a busy cluster soon all of them, some
/// 6 KB a node. Who asks for more large namespaces in turn has each list made anew.
const POD_LISTS: usize = 2;

/// A node that is present, with its entities.
pub(super) type Present = (NodeName, Arc<Roster>);

/// What a list has of each roster.
#[derive(Debug, Default, PartialEq, Eq)]
enum Of {
    /// The keys of all entities.
    #[default]
    Everything,
    /// The names of a namespace's pods.
    PodsOf(NamespaceName),
}

/// The keys of the entities of some rosters.
#[derive(Debug, Default)]
pub(super) struct KeyList {
    of: Of,
    /// Whose entities they are, sorted by node.
    rosters: Vec<Present>,
    /// Keys that several rosters have, namespaces and the cluster most of all: how many more than
    /// one.
    repeated: HashMap<String, i64>,
    parts: Vec<Part>,
    /// Whether anybody asked for it since `forget_unasked` was called.
    asked: bool,
}

/// Some successive keys, none of them only in an empty list.
#[derive(Debug, Default)]
struct Part {
    /// In JSON, each with a comma behind it.
    json: Bytes,
    /// Where the quotation mark before each key is.
    starts: Vec<usize>,
}

/// Where a key is, or would be.
#[derive(Clone, Copy, Debug)]
struct Place {
    part: usize,
    key: usize,
}

/// A key that a part gets or loses, before the key at a place or at it.
enum Edit {
    Insert(Place, String),
    Remove(Place),
}

/// Lists of pods that are kept: of the namespaces that were asked for last.
#[derive(Debug, Default)]
pub(super) struct PodLists(Vec<KeyList>);

impl PodLists {
    /// Brings the list of a namespace's pods up to date. Where none is kept a new one takes the
    /// place of the one that was asked for longest ago.
    pub(super) fn update(&mut self, namespace: NamespaceName, present: Vec<Present>) -> Vec<Bytes> {
        let of = Of::PodsOf(namespace);
        let place = self.0.iter().position(|list| list.of == of);
        let mut list = match place {
            Some(place) => self.0.remove(place),
            None => KeyList { of, ..KeyList::default() },
        };
        let pieces = list.update(present);
        self.0.truncate(POD_LISTS - 1);
        self.0.insert(0, list);
        pieces
    }

    /// Lets go of those that nobody asked for since this was called before.
    pub(super) fn forget_unasked(&mut self) {
        self.0.retain_mut(|list| std::mem::take(&mut list.asked));
    }
}

impl KeyList {
    /// Brings the list up to date with all rosters that are present, sorted by node. A JSON array
    /// without spaces, in pieces that together are the text.
    pub(super) fn update(&mut self, present: Vec<Present>) -> Vec<Bytes> {
        self.asked = true;
        let same = |(one, other): (&Present, &Present)| Arc::ptr_eq(&one.1, &other.1);
        let unchanged =
            self.rosters.len() == present.len() && self.rosters.iter().zip(&present).all(same);
        if !unchanged {
            let edits = self.edits(&present);
            self.edit(edits);
            self.rosters = present;
        }
        self.pieces()
    }

    /// Lets go of it all when nobody asked for it since this was called before.
    pub(super) fn forget_unasked(&mut self) {
        if !std::mem::take(&mut self.asked) {
            *self = Self { of: std::mem::take(&mut self.of), ..Self::default() };
        }
    }

    fn pieces(&self) -> Vec<Bytes> {
        let mut pieces = vec![Bytes::from_static(b"[")];
        pieces.extend(self.parts.iter().map(|part| part.json.clone()));
        if let [_, .., last] = pieces.as_mut_slice() {
            // Behind the last key of all is no comma.
            last.truncate(last.len().saturating_sub(1));
        }
        pieces.push(Bytes::from_static(b"]"));
        pieces
    }

    /// What differs between the rosters so far and those that are `present`, sorted by key.
    fn edits(&mut self, present: &[Present]) -> Vec<Edit> {
        let mut edits = Vec::new();
        for (key, more) in differences(&self.of, &self.rosters, present) {
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
    fn place(&self, key: &str) -> Result<Place, Place> {
        let begins_after = |part: &Part| compare(&part.json, key).is_gt();
        let part = self.parts.partition_point(|part| !begins_after(part)).saturating_sub(1);
        let at = |key| Place { part, key };
        let Some(keys) = self.parts.get(part) else { return Err(at(0)) };
        let order = |start: &usize| compare(keys.json.get(*start..).unwrap_or_default(), key);
        keys.starts.binary_search_by(order).map(at).map_err(at)
    }

    fn edit(&mut self, edits: Vec<Edit>) {
        let mut parts = std::mem::take(&mut self.parts);
        if parts.is_empty() {
            parts.push(Part::default());
        }
        let mut edits = edits.into_iter().peekable();
        let mut text = Text::default();
        for (number, part) in parts.into_iter().enumerate() {
            let is_here = |edit: &Edit| edit.place().part == number;
            if edits.peek().is_none_or(|edit| !is_here(edit)) && text.can_end() {
                text.end();
                text.parts.push(part);
                continue;
            }
            let mut next = 0;
            while let Some(edit) = edits.next_if(is_here) {
                let place = edit.place().key;
                text.copy(&part, next, place);
                match edit {
                    Edit::Insert(_, key) => {
                        text.push(&key);
                        next = place;
                    }
                    Edit::Remove(_) => next = place + 1,
                }
            }
            text.copy(&part, next, part.starts.len());
        }
        text.end();
        self.parts = text.parts;
    }
}

impl Edit {
    fn place(&self) -> Place {
        match self {
            Self::Insert(place, _) | Self::Remove(place) => *place,
        }
    }
}

/// A list that is being made.
#[derive(Default)]
struct Text {
    parts: Vec<Part>,
    /// The part that is being made.
    json: Vec<u8>,
    starts: Vec<usize>,
}

impl Text {
    /// Whether the part that is being made may end here: small ones would become ever more.
    fn can_end(&self) -> bool {
        self.json.is_empty() || PART_BYTES / 4 <= self.json.len()
    }

    fn end(&mut self) {
        if !self.json.is_empty() {
            let json = std::mem::take(&mut self.json).into();
            self.parts.push(Part { json, starts: std::mem::take(&mut self.starts) });
        }
    }

    /// Copies the keys of a part from `first` up to, not with, `end`.
    fn copy(&mut self, from: &Part, mut first: usize, end: usize) {
        while let Some([begin, starts @ ..]) = from.starts.get(first..end) {
            // As many as there is room for, but one at least.
            let room = begin + PART_BYTES.saturating_sub(self.json.len());
            let last = first + starts.partition_point(|start| *start < room);
            let stop = from.starts.get(last + 1).copied().unwrap_or(from.json.len());
            let at = self.json.len();
            let copied = from.starts.get(first..=last).unwrap_or_default();
            self.starts.extend(copied.iter().map(|start| start - begin + at));
            self.json.extend_from_slice(from.json.get(*begin..stop).unwrap_or_default());
            self.end_if_full();
            first = last + 1;
        }
    }

    fn push(&mut self, key: &str) {
        self.starts.push(self.json.len());
        text::push(&mut self.json, key);
        self.json.push(b',');
        self.end_if_full();
    }

    fn end_if_full(&mut self) {
        if PART_BYTES <= self.json.len() {
            self.end();
        }
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

/// How many more rosters have a key, sorted by key: those of one node are compared by themselves.
fn differences(of: &Of, before: &[Present], after: &[Present]) -> Vec<(String, i64)> {
    let mut changed: Vec<(&Present, i64)> = Vec::new();
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
            changed
                .extend(gone.map(|gone| (gone, -1)).into_iter().chain(come.map(|come| (come, 1))));
        }
    }
    // The first time these are all keys that there are.
    let texts = |(present, more): &(&Present, i64)| {
        let with = |key| (key, *more);
        match of {
            Of::Everything => keys(present).map(|key| with(key.to_string())).collect::<Vec<_>>(),
            Of::PodsOf(namespace) => {
                let pods = present.1.pods.iter().filter(|pod| pod.key.namespace == *namespace);
                pods.map(|pod| with(pod.key.name.to_string())).collect()
            }
        }
    };
    let mut all: Vec<(String, i64)> = changed.par_iter().flat_map_iter(texts).collect();
    all.par_sort_unstable();
    all.dedup_by(|(key, more), (kept, sum)| {
        let same = key == kept;
        *sum += if same { *more } else { 0 };
        same
    });
    all.retain(|(_, more)| *more != 0);
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
    use std::collections::{BTreeMap, BTreeSet};

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
            let mut pods = PodLists::default();
            prop_assert_eq!(list.update(Vec::new()).concat(), b"[]");
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
                prop_assert_eq!(list.update(present.clone()).concat(), expected.as_bytes());
                prop_assert_eq!(list.update(present.clone()).concat(), expected.as_bytes());
                let all = present.iter().flat_map(|(_, roster)| &roster.pods);
                let ours = all.filter(|pod| *pod.key.namespace == *NAMES[0]);
                let expected: BTreeSet<&str> = ours.map(|pod| pod.key.name.as_str()).collect();
                let expected = serde_json::to_string(&expected).unwrap();
                let namespace = NamespaceName::parse(NAMES[0]).unwrap();
                prop_assert_eq!(pods.update(namespace, present).concat(), expected.as_bytes());
            }
        }
    }

    /// A node with free containers of these numbers.
    fn present(rows: impl Iterator<Item = u32>) -> Vec<Present> {
        let free = |row| FreeContainer {
            name: ContainerName::parse(&format!("container-{row:03}")).unwrap(),
            row: EntityNumber(row),
        };
        let roster = Roster { free_containers: rows.map(free).collect(), ..Roster::default() };
        vec![(NodeName::parse("n").unwrap(), Arc::new(roster))]
    }

    #[test]
    fn a_list_that_nobody_asks_for_holds_no_roster() {
        let (mut list, mut pods) = (KeyList::default(), PodLists::default());
        let nodes = present(0..3);
        let namespace = || NamespaceName::parse("default").unwrap();
        let first = list.update(nodes.clone());
        pods.update(namespace(), nodes.clone());
        list.forget_unasked();
        pods.forget_unasked();
        assert_eq!(Arc::strong_count(&nodes[0].1), 3);
        list.forget_unasked();
        pods.forget_unasked();
        assert_eq!(Arc::strong_count(&nodes[0].1), 1);
        assert_eq!(list.update(nodes), first);
    }

    #[test]
    fn parts_in_which_nothing_changes_are_not_made_again() {
        let mut list = KeyList::default();
        let (first, second) = (list.update(present(0..500)), list.update(present(1..500)));
        assert!(40 < first.len(), "{}", first.len());
        let of_first: BTreeSet<*const u8> = first.iter().map(|piece| piece.as_ptr()).collect();
        let kept = second.iter().filter(|piece| of_first.contains(&piece.as_ptr())).count();
        assert!(first.len() - 3 <= kept && kept < second.len(), "{kept} of {}", first.len());
    }

    #[test]
    fn lists_of_the_namespaces_that_were_asked_for_last_are_kept() {
        let mut lists = PodLists::default();
        for name in ["a", "b", "a", "e"] {
            lists.update(NamespaceName::parse(name).unwrap(), Vec::new());
        }
        let kept = lists.0.iter().map(|list| match &list.of {
            Of::PodsOf(namespace) => namespace.as_str(),
            Of::Everything => "",
        });
        assert_eq!(kept.collect::<Vec<_>>(), ["e", "a"]);
    }

    #[test]
    fn small_parts_do_not_become_ever_more() {
        let mut list = KeyList::default();
        list.update(present(0..700));
        let full = list.parts.len();
        // Of every other part one key is left. The first two keys are the cluster's and the node's.
        let keys = list.parts.iter().enumerate().flat_map(|(number, part)| {
            let keys = 1..=part.starts.len();
            keys.map(move |key| number % 2 == 0 || key == part.starts.len())
        });
        let left: Vec<bool> = keys.skip(2).collect();
        let rows = (0..).zip(left).filter(|(_, is_left)| *is_left).map(|(row, _)| row);
        list.update(present(rows));
        assert!(list.parts.len() <= full * 3 / 4, "{} of {full}", list.parts.len());
    }
}

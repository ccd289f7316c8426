//! What numbers mean after declarations one after the other, as one declaration.
//!
//! Needed wherever declarations outlive the frame they came with: what a new stream must be told
//! first, and what is left to say when a frame between was dropped. Within one declaration,
//! retirements come before new entities, so a number may be retired and given anew at once; as
//! the new meaning replaces the old one anyway, the retirement is then left out.

use std::collections::{BTreeMap, BTreeSet};

use tally_proto::{
    declaration::{ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message::Declarations,
};

/// The net effect of declarations. Bounded by the numbers a node may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meanings {
    entities: BTreeMap<EntityNumber, EntityDeclaration>,
    columns: BTreeMap<ColumnNumber, ColumnDeclaration>,
    retired: BTreeSet<EntityNumber>,
}

impl Meanings {
    /// Adds what was said next.
    pub fn apply(&mut self, said: Declarations) {
        let Declarations { entities, columns, retired } = said;
        for number in retired {
            self.entities.remove(&number);
            self.retired.insert(number);
        }
        for entity in entities {
            self.retired.remove(&entity.number);
            self.entities.insert(entity.number, entity);
        }
        for column in columns {
            self.columns.insert(column.number, column);
        }
    }

    /// Forgets retirements, for a receiver who never heard of those numbers.
    pub fn forget_retired(&mut self) {
        self.retired.clear();
    }

    /// All of it as one declaration, pods before the containers that name them.
    pub fn into_declarations(self) -> Declarations {
        let (containers, others): (Vec<_>, Vec<_>) = self
            .entities
            .into_values()
            .partition(|entity| matches!(entity.what, Declared::PodContainer { .. }));
        Declarations {
            entities: others.into_iter().chain(containers).collect(),
            columns: self.columns.into_values().collect(),
            retired: self.retired.into_iter().collect(),
        }
    }
}

/// The same declaration without retirements of numbers that it gives anew.
pub fn without_retired_anew(mut said: Declarations) -> Declarations {
    if !said.retired.is_empty() && !said.entities.is_empty() {
        let anew: BTreeSet<EntityNumber> = said.entities.iter().map(|new| new.number).collect();
        said.retired.retain(|number| !anew.contains(number));
    }
    said
}

#[cfg(test)]
mod tests {
    use tally_proto::{name::PodUid, tick::UnixMs};

    use super::*;

    fn node(number: u32, life: i64) -> EntityDeclaration {
        EntityDeclaration {
            number: EntityNumber(number),
            start: Some(UnixMs(life)),
            what: Declared::Node,
        }
    }

    fn said(entities: &[(u32, i64)], retired: &[u32]) -> Declarations {
        Declarations {
            entities: entities.iter().map(|(number, life)| node(*number, *life)).collect(),
            columns: Vec::new(),
            retired: retired.iter().copied().map(EntityNumber).collect(),
        }
    }

    #[track_caller]
    fn check(said_in_turn: &[Declarations], in_one: Declarations) {
        let mut meanings = Meanings::default();
        for said in said_in_turn {
            meanings.apply(said.clone());
        }
        assert_eq!(meanings.into_declarations(), in_one);
    }

    #[test]
    fn the_last_meaning_of_a_number_holds() {
        check(&[said(&[(1, 1), (2, 2)], &[]), said(&[(1, 3)], &[])], said(&[(1, 3), (2, 2)], &[]));
    }

    #[test]
    fn a_retired_number_has_no_meaning() {
        check(&[said(&[(1, 1), (2, 2)], &[]), said(&[], &[1])], said(&[(2, 2)], &[1]));
    }

    #[test]
    fn a_number_given_anew_is_not_retired() {
        check(&[said(&[], &[1]), said(&[(1, 2)], &[])], said(&[(1, 2)], &[]));
        check(&[said(&[(1, 2)], &[1])], said(&[(1, 2)], &[]));
        assert_eq!(without_retired_anew(said(&[(1, 2)], &[1, 3])), said(&[(1, 2)], &[3]));
    }

    #[test]
    fn a_pod_comes_before_its_containers() {
        let container = EntityDeclaration {
            number: EntityNumber(0),
            start: None,
            what: Declared::PodContainer {
                pod: EntityNumber(7),
                name: None,
                id: None,
                path: None,
                sandbox: false,
                image: None,
            },
        };
        let uid = PodUid::parse("uid").unwrap();
        let pod = EntityDeclaration {
            number: EntityNumber(7),
            start: None,
            what: Declared::Pod { uid, key: None, path: None },
        };
        let all =
            |entities: Vec<EntityDeclaration>| Declarations { entities, ..Default::default() };
        check(&[all(vec![container.clone()]), all(vec![pod.clone()])], all(vec![pod, container]));
    }
}

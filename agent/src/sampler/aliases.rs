//! Second names of an entity, under a number of their own: what Heapster's users know it by.
//!
//! What is read of the entity goes into the frame under both numbers, so the two never differ.

use tally_proto::{
    declaration::{Declared, EntityDeclaration, EntityNumber},
    message::Declarations,
    name::ContainerName,
};

use super::{
    member::{Kind, Member},
    population::Population,
};
use crate::names::heapster;

/// A second name.
#[derive(Clone, Debug)]
pub(super) struct Alias {
    /// The number that has it.
    pub number: EntityNumber,
    /// The name.
    pub name: ContainerName,
}

impl Population {
    /// Gives second names to those that have become known by one. Who has one keeps it.
    pub(super) fn give_aliases(&mut self, said: &mut Declarations) {
        let groups = self.members().filter(|member| member.kind == Kind::Free(None));
        let paths = groups.filter_map(|member| member.path.as_deref());
        let new: Vec<(ContainerName, EntityNumber)> = heapster::parts(paths)
            .into_iter()
            .filter_map(|(name, path)| Some((ContainerName::parse(name).ok()?, self.at(path)?)))
            .filter(|(name, _)| !self.is_free_name_taken(name))
            .collect();
        for (name, number) in new {
            let has_one = self.get_mut(number).is_none_or(|member| member.alias.is_some());
            if has_one {
                continue;
            }
            let Some(alias) = self.take_number() else { return };
            let Some(member) = self.get_mut(number) else { return };
            member.alias = Some(Alias { number: alias, name });
            said.entities.extend(declaration(member));
        }
    }
}

fn declaration(member: &Member) -> Option<EntityDeclaration> {
    let Alias { number, name } = member.alias.clone()?;
    let what = Declared::FreeContainer {
        name: Some(name),
        id: None,
        path: member.path.clone(),
        image: None,
    };
    Some(EntityDeclaration { number, start: member.start, what })
}

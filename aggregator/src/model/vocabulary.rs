//! What many nodes say in the same words: names of namespaces, containers and images, and what
//! columns mean. Each is kept once, for as long as any node has it.

use std::{collections::HashSet, sync::Arc};

use tally_proto::{
    declaration::{ColumnDeclaration, Declared},
    name::Names,
};

use crate::declared::Meaning;

/// All that several nodes say.
#[derive(Debug, Default)]
pub struct Vocabulary {
    names: Names,
    meanings: HashSet<Arc<Meaning>>,
}

impl Vocabulary {
    /// Takes the names that entities have in common from those that are known. Names of pods, ids
    /// and paths are of one entity alone.
    pub fn share_names(&mut self, what: &mut Declared) {
        match what {
            Declared::Node | Declared::Unknown => (),
            Declared::Pod { key, .. } => {
                if let Some(key) = key {
                    key.namespace.share(&mut self.names);
                }
            }
            Declared::PodContainer { name, image, .. }
            | Declared::FreeContainer { name, image, .. } => {
                if let Some(name) = name {
                    name.share(&mut self.names);
                }
                if let Some(image) = image {
                    image.share(&mut self.names);
                }
            }
        }
    }

    /// What a column means.
    pub fn meaning(&mut self, declared: &ColumnDeclaration) -> Arc<Meaning> {
        let meaning = Meaning::of(declared);
        if let Some(known) = self.meanings.get(&meaning) {
            return Arc::clone(known);
        }
        let meaning = Arc::new(meaning);
        self.meanings.insert(Arc::clone(&meaning));
        meaning
    }

    /// Forgets what no node says any longer.
    pub fn sweep(&mut self) {
        self.names.sweep();
        self.meanings.retain(|meaning| 1 < Arc::strong_count(meaning));
    }
}

#[cfg(test)]
mod tests {
    use tally_proto::{
        declaration::ColumnNumber,
        metric::{Labels, MetricName},
    };

    use super::*;

    #[test]
    fn columns_that_mean_the_same_share_it_until_nobody_has_it() {
        let mut vocabulary = Vocabulary::default();
        let column = |number| ColumnDeclaration {
            number: ColumnNumber(number),
            metric: MetricName::parse("custom/qps").unwrap(),
            labels: Labels::none(),
            floating: false,
            cumulative: false,
        };
        let (one, other) = (vocabulary.meaning(&column(1)), vocabulary.meaning(&column(7)));
        assert!(Arc::ptr_eq(&one, &other));
        drop((one, other));
        vocabulary.sweep();
        assert!(vocabulary.meanings.is_empty());
    }
}

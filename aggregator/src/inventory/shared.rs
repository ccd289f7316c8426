//! Values that many records have in common, each kept once.

use std::{collections::HashSet, hash::Hash, sync::Arc};

/// The values that anyone has.
#[derive(Debug)]
pub(super) struct Shared<T: ?Sized>(HashSet<Arc<T>>);

impl<T: ?Sized> Default for Shared<T> {
    fn default() -> Self {
        Self(HashSet::new())
    }
}

impl<T: Eq + Hash + ?Sized> Shared<T> {
    /// Takes the value from those that are known, where it is one of them.
    pub(super) fn share(&mut self, value: &mut Arc<T>) {
        match self.0.get(value) {
            Some(known) => *value = Arc::clone(known),
            None => {
                self.0.insert(Arc::clone(value));
            }
        }
    }

    /// Forgets what nobody else has any longer.
    pub(super) fn sweep(&mut self) {
        self.0.retain(|value| 1 < Arc::strong_count(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_values_are_one_for_as_long_as_anyone_has_it() {
        let mut shared = Shared::<str>::default();
        let (mut first, mut second): (Arc<str>, Arc<str>) = ("a".into(), "a".into());
        shared.share(&mut first);
        shared.share(&mut second);
        assert!(Arc::ptr_eq(&first, &second));
        drop(first);
        shared.sweep();
        assert_eq!(shared.0.len(), 1);
        drop(second);
        shared.sweep();
        assert!(shared.0.is_empty());
    }
}

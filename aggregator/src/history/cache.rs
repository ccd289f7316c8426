//! Parts of files that were read lately, so much of them and no more.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    block::{Columns, Names},
    file::index::Index,
};

/// Bytes kept by default: the names of about a hundred thousand entities and the tables of some
/// hundred blocks. Without room everything is read anew, correct and slower.
pub const CACHE_BYTES: usize = 64 << 20;

/// Which part: the file's number, the block's, and which of its parts.
pub(super) type Key = (u64, u32, PartKind);

/// Which part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum PartKind {
    Index,
    Names,
    Columns,
}

/// A part.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Index(Arc<Index>),
    Names(Arc<Names>),
    Columns(Arc<Columns>),
}

/// Parts, the least lately used of which go first.
#[derive(Debug)]
pub struct Cache {
    limit: usize,
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    parts: HashMap<Key, Held>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Held {
    part: Part,
    used: u64,
    bytes: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new(CACHE_BYTES)
    }
}

impl Cache {
    /// Room for so many bytes.
    pub fn new(limit: usize) -> Self {
        Self { limit, inside: Mutex::default() }
    }

    /// The part, if it is held; else what `read` gives, which is held from then on.
    pub(super) fn get<E>(
        &self,
        key: Key,
        read: impl FnOnce() -> Result<(Part, usize), E>,
    ) -> Result<Part, E> {
        if let Some(part) = self.held(key) {
            return Ok(part);
        }
        // Not under the lock: two readers of the same part at worst read it twice.
        let (part, bytes) = read()?;
        self.hold(key, part.clone(), bytes);
        Ok(part)
    }

    fn held(&self, key: Key) -> Option<Part> {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Inside { parts, by_use, uses, .. } = &mut *inside;
        let held = parts.get_mut(&key)?;
        by_use.remove(&held.used);
        *uses += 1;
        held.used = *uses;
        by_use.insert(*uses, key);
        Some(held.part.clone())
    }

    fn hold(&self, key: Key, part: Part, bytes: usize) {
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let inside = &mut *inside;
        inside.uses += 1;
        let held = Held { part, used: inside.uses, bytes };
        inside.by_use.insert(inside.uses, key);
        inside.bytes += bytes;
        if let Some(before) = inside.parts.insert(key, held) {
            inside.by_use.remove(&before.used);
            inside.bytes -= before.bytes;
        }
        while self.limit < inside.bytes
            && let Some((_, oldest)) = inside.by_use.pop_first()
        {
            if let Some(gone) = inside.parts.remove(&oldest) {
                inside.bytes -= gone.bytes;
            }
        }
    }

    /// Bytes held now, about.
    pub fn bytes(&self) -> usize {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn get(cache: &Cache, block: u32) -> bool {
        let mut was_read = false;
        let read = || {
            was_read = true;
            Ok::<_, ()>((Part::Index(Arc::default()), 10))
        };
        cache.get((1, block, PartKind::Index), read).unwrap();
        was_read
    }

    #[test]
    fn the_least_lately_used_goes_first_and_the_limit_holds() {
        let cache = Cache::new(30);
        assert!(get(&cache, 1) && get(&cache, 2) && get(&cache, 3));
        assert!(!get(&cache, 1));
        assert!(get(&cache, 4));
        assert!(!get(&cache, 1) && get(&cache, 2));
        assert_eq!(cache.bytes(), 30);
    }

    #[test]
    fn what_does_not_fit_is_not_kept() {
        let cache = Cache::new(5);
        assert!(get(&cache, 1) && get(&cache, 1));
        assert_eq!(cache.bytes(), 0);
    }
}

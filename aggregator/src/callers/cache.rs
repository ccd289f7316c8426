//! What was answered a moment ago.
//!
//! All entries of one cache live equally long, so the order in which they came is the order in
//! which they end: a full cache forgets the one that would end next.

use std::{
    collections::{HashMap, VecDeque},
    hash::Hash,
    time::Duration,
};

/// Answers by what was asked, for a time.
#[derive(Debug)]
pub struct Cache<K, V> {
    /// How long an answer stands.
    lives: Duration,
    /// Answers that are held at most.
    most: usize,
    /// Each with the number of its entry in `order`.
    held: HashMap<K, (u64, Duration, V)>,
    /// Oldest first. Of a key that was put twice, the first is of no use any more.
    order: VecDeque<(u64, K)>,
    next: u64,
}

impl<K: Clone + Eq + Hash, V: Clone> Cache<K, V> {
    /// One without answers: up to `most`, each for the time that it `lives`.
    pub fn new(lives: Duration, most: usize) -> Self {
        Self { lives, most, held: HashMap::new(), order: VecDeque::new(), next: 0 }
    }

    /// The answer to `key`, if it still stands at `now`.
    pub fn get(&self, key: &K, now: Duration) -> Option<V> {
        let (_, since, value) = self.held.get(key)?;
        (now.saturating_sub(*since) < self.lives).then(|| value.clone())
    }

    /// Holds what was answered at `now`.
    pub fn put(&mut self, key: K, value: V, now: Duration) {
        self.next += 1;
        self.held.insert(key.clone(), (self.next, now, value));
        self.order.push_back((self.next, key));
        while let Some((number, key)) = self.order.front() {
            let current = self.held.get(key).filter(|(held, ..)| held == number);
            let ended =
                current.is_none_or(|(_, since, _)| self.lives <= now.saturating_sub(*since));
            if !ended && self.order.len() <= self.most {
                break;
            }
            if current.is_some() {
                self.held.remove(key);
            }
            self.order.pop_front();
        }
    }

    /// How many answers are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn an_answer_stands_for_its_time_and_no_longer() {
        let mut cache = Cache::new(at(10), 4);
        cache.put("a", 1, at(5));
        assert_eq!(cache.get(&"a", at(14)), Some(1));
        assert_eq!(cache.get(&"a", at(15)), None);
        assert_eq!(cache.get(&"b", at(5)), None);
    }

    #[test]
    fn a_newer_answer_stands_for_its_own_time() {
        let mut cache = Cache::new(at(10), 4);
        cache.put("a", 1, at(0));
        cache.put("a", 2, at(8));
        cache.put("b", 3, at(11));
        assert_eq!(cache.get(&"a", at(17)), Some(2));
    }

    #[test]
    fn a_full_cache_forgets_the_oldest() {
        let mut cache = Cache::new(at(10), 2);
        for (key, ms) in [("a", 0), ("b", 1), ("c", 2)] {
            cache.put(key, ms, at(ms));
        }
        assert_eq!(["a", "b", "c"].map(|key| cache.get(&key, at(3))), [None, Some(1), Some(2)]);
    }

    proptest! {
        #[test]
        fn it_never_holds_more_than_it_may_nor_what_has_ended(
            puts in proptest::collection::vec((0_u8..20, 0_u64..5), 0..200)
        ) {
            let (mut cache, mut now) = (Cache::new(at(10), 8), 0);
            let mut last = HashMap::new();
            for (key, later) in puts {
                now += later;
                cache.put(key, now, at(now));
                last.insert(key, now);
                prop_assert!(cache.len() <= 8 && cache.order.len() <= 8);
                for key in 0..20 {
                    let found = cache.get(&key, at(now));
                    prop_assert!(found.is_none_or(|found| last.get(&key) == Some(&found) && now - found < 10));
                }
            }
        }
    }
}

//! Sums of many namespaces by tick. Each frame adds to those of all its namespaces at one tick, so a
//! tick has one place in all of them, which is looked up once.

use std::collections::{BTreeMap, HashMap};

use tally_proto::tick::Tick;

use crate::rollup::sums::Addends;

/// Ticks that have room at once: a namespace that is there for a moment takes little.
const TICKS_AT_ONCE: usize = 16;

/// The ticks of frames, each with its place: the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Ticks {
    known: Vec<Tick>,
    places: HashMap<Tick, usize>,
    /// The place after the one that was asked for last, which a node's next frame mostly has.
    next: usize,
}

impl Ticks {
    /// The place of a tick.
    pub(super) fn place(&mut self, tick: Tick) -> usize {
        let place = if self.known.get(self.next) == Some(&tick) {
            self.next
        } else {
            *self.places.entry(tick).or_insert_with(|| {
                self.known.push(tick);
                self.known.len() - 1
            })
        };
        self.next = place + 1;
        place
    }

    /// Sums with their ticks.
    pub(super) fn with(&self, sums: &SumsByTick) -> BTreeMap<Tick, Addends> {
        let known = sums.iter().filter_map(|(place, sum)| Some((*self.known.get(place)?, sum)));
        known.map(|(tick, sum)| (tick, sum.clone())).collect()
    }
}

/// The sums of a namespace, by the places of their ticks.
#[derive(Clone, Debug, Default)]
pub(super) struct SumsByTick(Vec<Option<Box<[Addends; TICKS_AT_ONCE]>>>);

impl SumsByTick {
    /// Adds to the sums at a place.
    pub(super) fn add(&mut self, place: usize, addends: &Addends) {
        let (page, place) = (place / TICKS_AT_ONCE, place % TICKS_AT_ONCE);
        if self.0.len() <= page {
            self.0.resize(page + 1, None);
        }
        let page = self.0.get_mut(page).map(|page| page.get_or_insert_default());
        if let Some(sum) = page.and_then(|page| page.get_mut(place)) {
            sum.add_all(addends);
        }
    }

    /// Adds all of another's.
    pub(super) fn add_all(&mut self, other: &Self) {
        other.iter().for_each(|(place, addends)| self.add(place, addends));
    }

    /// Places where anything was added, with what there is.
    fn iter(&self) -> impl Iterator<Item = (usize, &Addends)> {
        let pages = (0..).step_by(TICKS_AT_ONCE).zip(&self.0);
        let sums =
            pages.flat_map(|(first, page)| (first..).zip(page.iter().flat_map(|page| &**page)));
        sums.filter(|(_, sum)| !sum.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(amount: i64) -> Addends {
        let mut addends = Addends::default();
        addends.add(0, amount);
        addends
    }

    #[test]
    fn a_tick_has_one_place_in_whatever_order_it_comes() {
        let mut ticks = Ticks::default();
        let asked = [30, 45, 60, 30, 60, 15, 45, 45, 30, 15];
        let places: Vec<usize> = asked.map(|tick| ticks.place(Tick(tick))).into();
        assert_eq!(places, [0, 1, 2, 0, 2, 3, 1, 1, 0, 3]);
    }

    #[test]
    fn sums_come_out_at_their_ticks_ascending() {
        let mut ticks = Ticks::default();
        let (mut sums, mut later) = (SumsByTick::default(), SumsByTick::default());
        for tick in (1..=40).rev() {
            let place = ticks.place(Tick(tick));
            if tick % 20 == 0 {
                sums.add(place, &one(1));
                later.add(place, &one(2));
            }
            if tick == 3 {
                later.add(place, &one(4));
                sums.add(place, &Addends::default());
            }
        }
        sums.add_all(&later);
        let sums = ticks.with(&sums).into_iter().map(|(tick, sum)| (tick.0, sum.get(0)));
        assert_eq!(sums.collect::<Vec<_>>(), [(3, Some(4)), (20, Some(3)), (40, Some(3))]);
    }
}

//! Entity numbers: given out from 0, and again after their entity retired.
//!
//! A number that retires with one frame means the old entity until that frame is counted, so it is
//! given out again with the next frame at the earliest.

use tally_proto::{declaration::EntityNumber, limits::ENTITIES_PER_NODE};

/// Which numbers are free.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    next: u32,
    /// May be given out, the lowest last.
    free: Vec<u32>,
    /// Retired with the frame that is being made.
    resting: Vec<u32>,
}

impl Numbers {
    /// Begins the next frame: what retired with the last one is free.
    pub(super) fn begin_frame(&mut self) {
        if !self.resting.is_empty() {
            self.free.append(&mut self.resting);
            self.free.sort_unstable_by(|a, b| b.cmp(a));
        }
    }

    /// The lowest free number; `None` when a node may have no more.
    pub(super) fn take(&mut self) -> Option<EntityNumber> {
        if let Some(number) = self.free.pop() {
            return Some(EntityNumber(number));
        }
        (self.next < ENTITIES_PER_NODE).then(|| {
            self.next += 1;
            EntityNumber(self.next - 1)
        })
    }

    /// Gives a number back whose retirement goes with this frame.
    pub(super) fn retire(&mut self, number: EntityNumber) {
        self.resting.push(number.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_rests_for_the_frame_of_its_retirement() {
        let mut numbers = Numbers::default();
        let taken: Vec<_> = (0..3).filter_map(|_| numbers.take()).map(|n| n.0).collect();
        assert_eq!(taken, [0, 1, 2]);
        numbers.retire(EntityNumber(1));
        assert_eq!(numbers.take(), Some(EntityNumber(3)));
        numbers.begin_frame();
        assert_eq!(numbers.take(), Some(EntityNumber(1)));
        assert_eq!(numbers.take(), Some(EntityNumber(4)));
    }

    #[test]
    fn a_node_has_only_so_many() {
        let mut numbers = Numbers::default();
        let given = std::iter::from_fn(|| numbers.take()).count();
        assert_eq!(given, usize::try_from(ENTITIES_PER_NODE).unwrap());
    }
}

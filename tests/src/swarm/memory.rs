//! How the aggregator's memory goes while pods come and go: it must not grow with those that were.

use serde::Serialize;

/// Parts of the measured time, each with its own figure.
const PARTS: u64 = 10;

/// The end of one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Pods that there were so far, all together.
    pub pods: u64,
    /// The most memory in this part, as it was seen at each tick.
    pub rss_bytes: u64,
}

/// The memory in the course of the measured ticks.
#[derive(Clone, Debug)]
pub struct Course {
    ticks: u64,
    seen: u64,
    /// The part of the last tick.
    part: Option<u64>,
    parts: Vec<Part>,
}

impl Course {
    /// Nothing seen of so many ticks.
    pub fn new(ticks: u64) -> Self {
        Self { ticks, seen: 0, part: None, parts: Vec::new() }
    }

    /// Notes what there is at the next tick.
    pub fn see(&mut self, pods: u64, rss_bytes: u64) {
        let part = self.seen * PARTS / self.ticks.max(1);
        self.seen += 1;
        let is_new = self.part.replace(part) != Some(part);
        match self.parts.last_mut().filter(|_| !is_new) {
            Some(last) => *last = Part { pods, rss_bytes: last.rss_bytes.max(rss_bytes) },
            None => self.parts.push(Part { pods, rss_bytes }),
        }
    }

    /// All parts, the first one first.
    pub fn parts(self) -> Vec<Part> {
        self.parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(ticks: u64, expected: &[(u64, u64)]) {
        let mut course = Course::new(ticks);
        for tick in 1..=ticks {
            course.see(100 * tick, if tick.is_multiple_of(2) { tick } else { 7 });
        }
        let parts = course.parts().into_iter().map(|part| (part.pods, part.rss_bytes));
        assert_eq!(parts.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn each_part_has_its_last_count_and_its_most_memory() {
        check(3, &[(100, 7), (200, 2), (300, 7)]);
        let of_twenty: Vec<_> = (1..=10).map(|part| (200 * part, 7.max(2 * part))).collect();
        check(20, &of_twenty);
    }
}

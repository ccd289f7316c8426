//! The ticks at which something has values: runs of equal steps, as gaps are few.

use tally_proto::tick::Tick;

use super::codec::{
    Malformed,
    bytes::{push_length, push_varint, take_at_most, take_varint},
};

/// Most ticks of one series in one block: a day at a second, and some. Longer spans are several
/// blocks.
pub const TICKS_PER_SERIES: usize = 100_000;

/// Ticks with equal steps between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Run {
    first: u64,
    step: u64,
    /// At least 1.
    count: u64,
}

impl Run {
    fn last(&self) -> u64 {
        self.first + self.step * (self.count - 1)
    }
}

/// Ascending ticks, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Timeline {
    runs: Vec<Run>,
    length: usize,
}

impl Timeline {
    /// The timeline of ticks; those that are not later than the one before are left out.
    pub fn of(ticks: impl IntoIterator<Item = Tick>) -> Self {
        let mut timeline = Self::default();
        for tick in ticks {
            timeline.push(tick);
        }
        timeline
    }

    /// All ticks of several.
    pub(super) fn of_all<'a>(timelines: impl IntoIterator<Item = &'a Timeline>) -> Self {
        let mut ticks: Vec<Tick> = timelines.into_iter().flat_map(Timeline::iter).collect();
        // What is sorted in parts is sorted in one pass; of equal ones `push` takes the first.
        ticks.sort();
        Self::of(ticks)
    }

    /// Adds a tick; `false`, and nothing is added, when it is not later than the last.
    pub fn push(&mut self, Tick(tick): Tick) -> bool {
        let Some(run) = self.runs.last_mut() else {
            return self.begin(tick);
        };
        let Some(step) = tick.checked_sub(run.last()).filter(|step| *step != 0) else {
            return false;
        };
        if run.count == 1 {
            run.step = step;
        }
        if run.step != step {
            return self.begin(tick);
        }
        run.count += 1;
        self.length += 1;
        true
    }

    fn begin(&mut self, tick: u64) -> bool {
        self.runs.push(Run { first: tick, step: 1, count: 1 });
        self.length += 1;
        true
    }

    /// Adds the ticks of a timeline that are later than the last.
    pub fn append(&mut self, later: &Timeline) {
        for run in &later.runs {
            // A run that goes on as the last one does is one with it; most do.
            if let Some(before) = self.runs.last_mut()
                && 1 < before.count
                && (run.count == 1 || before.step == run.step)
                && before.last() + before.step == run.first
            {
                before.count += run.count;
                self.length += usize::try_from(run.count).unwrap_or(usize::MAX);
                continue;
            }
            for place in 0..run.count {
                self.push(Tick(run.first + run.step * place));
            }
        }
    }

    /// Number of ticks.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The first tick.
    pub fn first(&self) -> Option<Tick> {
        self.runs.first().map(|run| Tick(run.first))
    }

    /// The last tick.
    pub fn last(&self) -> Option<Tick> {
        self.runs.last().map(|run| Tick(run.last()))
    }

    /// The ticks.
    pub fn iter(&self) -> impl Iterator<Item = Tick> + use<'_> {
        let ticks = |run: &Run| {
            let Run { first, step, count } = *run;
            (0..count).map(move |place| Tick(first + step * place))
        };
        self.runs.iter().flat_map(ticks)
    }

    /// Whether any tick is from `first` to `last`, both included.
    pub fn touches(&self, first: Tick, last: Tick) -> bool {
        self.runs.iter().any(|run| {
            // The first tick of the run at or after `first`.
            let steps = first.0.saturating_sub(run.first).div_ceil(run.step);
            steps < run.count && run.first + steps * run.step <= last.0
        })
    }

    /// Appends it.
    pub(super) fn push_to(&self, out: &mut Vec<u8>) {
        push_length(self.runs.len(), out);
        let mut before = 0;
        for run in &self.runs {
            push_varint(run.first - before, out);
            push_varint(run.count, out);
            if 1 < run.count {
                push_varint(run.step, out);
            }
            before = run.last();
        }
    }

    /// Takes one from the front.
    pub(super) fn take_from(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let count = take_at_most(bytes, TICKS_PER_SERIES, "the runs of a timeline")?;
        let mut timeline = Self::default();
        let mut before = 0u64;
        for place in 0..count {
            let run = take_run(bytes, before, place == 0)?;
            timeline.length = usize::try_from(run.count)
                .ok()
                .and_then(|count| timeline.length.checked_add(count))
                .filter(|length| *length <= TICKS_PER_SERIES)
                .ok_or(Malformed::Range("the ticks of a timeline"))?;
            before = run.last();
            timeline.runs.push(run);
        }
        Ok(timeline)
    }
}

fn take_run(bytes: &mut &[u8], before: u64, is_first: bool) -> Result<Run, Malformed> {
    const TICK: Malformed = Malformed::Range("a tick");
    let gap = take_varint(bytes, "a tick")?;
    let count = take_varint(bytes, "the ticks of a run")?;
    if count == 0 || (gap == 0 && !is_first) {
        return Err(TICK);
    }
    let step = if 1 < count { take_varint(bytes, "a step")? } else { 1 };
    let first = before.checked_add(gap).ok_or(TICK)?;
    let length = step.checked_mul(count - 1).ok_or(TICK)?;
    if step == 0 || first.checked_add(length).is_none() {
        return Err(TICK);
    }
    Ok(Run { first, step, count })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(ticks: &[u64]) -> Timeline {
        Timeline::of(ticks.iter().map(|tick| Tick(*tick)))
    }

    proptest! {
        #[test]
        fn ticks_come_back(ticks in prop::collection::btree_set(0u64..500, 0..100)) {
            let ticks: Vec<u64> = ticks.into_iter().collect();
            let timeline = of(&ticks);
            prop_assert_eq!(timeline.len(), ticks.len());
            prop_assert_eq!(timeline.iter().map(|tick| tick.0).collect::<Vec<_>>(), ticks.clone());
            let mut bytes = Vec::new();
            timeline.push_to(&mut bytes);
            prop_assert_eq!(Timeline::take_from(&mut bytes.as_slice()), Ok(timeline.clone()));
            for at in [0, ticks.len() / 3, ticks.len()] {
                let mut joined = of(&ticks[..at]);
                joined.append(&of(&ticks[at..]));
                prop_assert_eq!(&joined, &timeline);
            }
            for (first, last) in [(0, 499), (100, 120), (7, 7), (499, 500)] {
                let expected = ticks.iter().any(|tick| first <= *tick && *tick <= last);
                prop_assert_eq!(timeline.touches(Tick(first), Tick(last)), expected);
            }
        }

        #[test]
        fn arbitrary_bytes_are_ascending_ticks_or_none(bytes: Vec<u8>) {
            if let Ok(timeline) = Timeline::take_from(&mut bytes.as_slice()) {
                let ticks: Vec<Tick> = timeline.iter().collect();
                prop_assert!(ticks.is_sorted_by(|a, b| a < b));
                prop_assert_eq!(ticks.len(), timeline.len());
            }
        }
    }

    #[test]
    fn a_tick_that_is_not_later_is_left_out() {
        assert_eq!(of(&[5, 5, 3, 10]), of(&[5, 10]));
    }

    #[test]
    fn a_day_without_gaps_takes_few_bytes() {
        let mut bytes = Vec::new();
        of(&(0..5760).map(|n| 1_790_000_000 + n * 15).collect::<Vec<_>>()).push_to(&mut bytes);
        assert!(bytes.len() < 12, "{}", bytes.len());
    }
}

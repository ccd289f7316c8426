//! Sums of one namespace, or of the cluster, for every tick of the window.
//!
//! Sums are integers, so that any order of additions gives the same: metrics that are doubles are
//! summed in thousandths. A metric to which nothing was added at a tick is absent there, not 0.

use std::sync::LazyLock;

use tally_proto::{
    catalogue::{self, METRICS, MetricId},
    metric::{Sum, ValueType},
    tick::{Resolution, Tick},
};

/// Metrics of the nodes themselves, summed for the cluster only.
pub const NODE_TOTALS: [MetricId; 9] = [
    catalogue::CPU_NODE_USAGE,
    catalogue::MEMORY_NODE_USAGE,
    catalogue::EPHEMERAL_STORAGE_NODE_USAGE,
    catalogue::CPU_NODE_CAPACITY,
    catalogue::MEMORY_NODE_CAPACITY,
    catalogue::EPHEMERAL_STORAGE_NODE_CAPACITY,
    catalogue::CPU_NODE_ALLOCATABLE,
    catalogue::MEMORY_NODE_ALLOCATABLE,
    catalogue::EPHEMERAL_STORAGE_NODE_ALLOCATABLE,
];

/// Ratios of the cluster: of what, and usage or requests over what the nodes can give together.
pub const RATIOS: [(MetricId, MetricId, MetricId); 6] = [
    (catalogue::CPU_NODE_UTILIZATION, catalogue::CPU_NODE_USAGE, catalogue::CPU_NODE_ALLOCATABLE),
    (catalogue::CPU_NODE_RESERVATION, catalogue::CPU_REQUEST, catalogue::CPU_NODE_ALLOCATABLE),
    (
        catalogue::MEMORY_NODE_UTILIZATION,
        catalogue::MEMORY_NODE_USAGE,
        catalogue::MEMORY_NODE_ALLOCATABLE,
    ),
    (
        catalogue::MEMORY_NODE_RESERVATION,
        catalogue::MEMORY_REQUEST,
        catalogue::MEMORY_NODE_ALLOCATABLE,
    ),
    (
        catalogue::EPHEMERAL_STORAGE_NODE_UTILIZATION,
        catalogue::EPHEMERAL_STORAGE_NODE_USAGE,
        catalogue::EPHEMERAL_STORAGE_NODE_ALLOCATABLE,
    ),
    (
        catalogue::EPHEMERAL_STORAGE_NODE_RESERVATION,
        catalogue::EPHEMERAL_STORAGE_REQUEST,
        catalogue::EPHEMERAL_STORAGE_NODE_ALLOCATABLE,
    ),
];

/// Most metrics that can be summed: one bit of a word each, and room for little more than there
/// are, as each frame has this many for each of its namespaces.
const SUMMED_MAX: usize = 40;

/// Thousandths in one: the unit in which doubles are summed.
const THOUSANDTHS: f64 = 1000.0;

struct Summed {
    metrics: Vec<MetricId>,
    places: [Option<usize>; METRICS],
}

static SUMMED: LazyLock<Summed> = LazyLock::new(|| {
    let metrics: Vec<MetricId> = catalogue::all()
        .filter(|id| Sum::Node <= id.metric().sum || NODE_TOTALS.contains(id))
        .collect();
    let mut places = [None; METRICS];
    for (place, id) in metrics.iter().enumerate() {
        if let Some(slot) = places.get_mut(id.index()) {
            *slot = Some(place);
        }
    }
    Summed { metrics, places }
});

/// Every metric that is summed to namespace or cluster.
pub fn summed() -> &'static [MetricId] {
    &SUMMED.metrics
}

/// A metric's place among the summed ones.
pub fn place_of(id: MetricId) -> Option<usize> {
    SUMMED.places.get(id.index()).copied().flatten()
}

/// A double as it is summed.
#[expect(clippy::as_conversions, reason = "saturates, and a rate of 9e15 a second does not occur")]
pub fn thousandths(value: f64) -> i64 {
    let amount = value * THOUSANDTHS;
    let whole = amount as i64;
    // What is left is exact, and halves go away from zero. `round` does the same in a function that
    // is called.
    let left = amount - whole as f64;
    whole.saturating_add(i64::from(0.5 <= left)).saturating_sub(i64::from(left <= -0.5))
}

/// What one frame adds to one sum.
#[derive(Clone, Debug)]
pub struct Addends {
    present: u64,
    amounts: [i64; SUMMED_MAX],
}

impl Default for Addends {
    fn default() -> Self {
        Self { present: 0, amounts: [0; SUMMED_MAX] }
    }
}

impl Addends {
    /// Adds to the metric at `place`.
    pub fn add(&mut self, place: usize, amount: i64) {
        if let Some(sum) = self.amounts.get_mut(place) {
            *sum = sum.saturating_add(amount);
            self.present |= 1 << place;
        }
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.present == 0
    }

    /// The amount of the metric at `place`, where anything was added to it.
    pub fn get(&self, place: usize) -> Option<i64> {
        let amount = self.amounts.get(place).copied();
        amount.filter(|_| self.present >> place & 1 == 1)
    }

    /// Adds all of another's.
    pub fn add_all(&mut self, other: &Addends) {
        // Less than half of what may be summed is there in most frames.
        let mut left = other.present;
        while left != 0 {
            let place = left.trailing_zeros();
            left &= left - 1;
            let place = usize::try_from(place).unwrap_or(usize::MAX);
            if let (Some(sum), Some(amount)) =
                (self.amounts.get_mut(place), other.amounts.get(place))
            {
                *sum = sum.saturating_add(*amount);
            }
        }
        self.present |= other.present;
    }
}

/// The sums of one namespace or of the cluster.
#[derive(Debug)]
pub struct Sums {
    resolution: u64,
    ticks: Vec<Slot>,
    /// For each slot of the ring, the sums in the order of [`summed`].
    amounts: Vec<i64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    tick: Tick,
    present: u64,
}

impl Sums {
    /// Room for `ticks` ticks.
    pub fn new(resolution: Resolution, ticks: usize) -> Self {
        Self {
            resolution: u64::from(resolution.seconds()),
            ticks: vec![Slot::default(); ticks],
            amounts: vec![0; ticks * summed().len()],
        }
    }

    /// Adds one frame's part to its own tick, however late it comes. `false` when newer ticks
    /// have taken the place already.
    pub fn add(&mut self, tick: Tick, addends: &Addends) -> bool {
        let place = self.place(tick);
        let width = summed().len();
        let (Some(slot), Some(amounts)) =
            (self.ticks.get_mut(place), self.amounts.get_mut(place * width..(place + 1) * width))
        else {
            return false;
        };
        if tick < slot.tick {
            return false;
        }
        if slot.tick < tick {
            *slot = Slot { tick, present: 0 };
            amounts.fill(0);
        }
        slot.present |= addends.present;
        for (sum, amount) in amounts.iter_mut().zip(&addends.amounts) {
            *sum = sum.saturating_add(*amount);
        }
        true
    }

    /// The sum of a metric at a tick; a double is in thousandths.
    pub fn get(&self, tick: Tick, place: usize) -> Option<i64> {
        let at = self.place(tick);
        let slot = self.ticks.get(at)?;
        let present = slot.tick == tick && slot.present >> place & 1 == 1;
        present.then(|| self.amounts.get(at * summed().len() + place).copied())?
    }

    /// The ticks that have sums, ascending.
    pub fn ticks(&self) -> Vec<Tick> {
        let mut ticks: Vec<Tick> =
            self.ticks.iter().filter(|slot| slot.present != 0).map(|slot| slot.tick).collect();
        ticks.sort_unstable();
        ticks
    }

    /// Metrics that have a sum at any tick.
    pub fn metrics(&self) -> impl Iterator<Item = MetricId> {
        let present = self.ticks.iter().fold(0, |all, slot| all | slot.present);
        let bits = summed().iter().enumerate();
        bits.filter(move |(place, _)| present >> place & 1 == 1).map(|(_, id)| *id)
    }

    fn place(&self, tick: Tick) -> usize {
        let slots = u64::try_from(self.ticks.len().max(1)).unwrap_or(1);
        usize::try_from(tick.0 / self.resolution % slots).unwrap_or(0)
    }
}

/// A sum as its metric's number: whole, or back from thousandths.
#[expect(clippy::as_conversions, reason = "a double holds every sum to 15 digits")]
pub fn as_double(id: MetricId, sum: i64) -> Option<f64> {
    (id.metric().value == ValueType::Float).then(|| sum as f64 / THOUSANDTHS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(place: usize, amount: i64) -> Addends {
        let mut addends = Addends::default();
        addends.add(place, amount);
        addends
    }

    #[test]
    #[expect(clippy::as_conversions, reason = "saturates, as what it is compared with")]
    fn thousandths_are_rounded_as_doubles_are() {
        let some =
            [0.0, -0.0, 0.0004, 0.0005, 0.0015, 2.5, 1e12 / 7.0, 1e300, f64::INFINITY, f64::NAN];
        for value in some.into_iter().flat_map(|value| [value, -value]) {
            assert_eq!(thousandths(value), (value * THOUSANDTHS).round() as i64, "{value}");
        }
    }

    #[test]
    fn every_summed_metric_has_a_bit() {
        assert!(summed().len() <= SUMMED_MAX);
    }

    #[test]
    fn a_late_part_counts_in_its_own_tick() {
        let mut sums = Sums::new(Resolution::from_seconds(10).unwrap(), 4);
        assert!(sums.add(Tick(20), &one(0, 5)));
        assert!(sums.add(Tick(10), &one(0, 3)));
        assert!(sums.add(Tick(20), &one(0, 2)));
        assert_eq!((sums.get(Tick(10), 0), sums.get(Tick(20), 0)), (Some(3), Some(7)));
        assert_eq!(sums.get(Tick(20), 1), None, "absent is not zero");
    }

    #[test]
    fn what_left_the_window_takes_no_place_of_what_is_in_it() {
        let mut sums = Sums::new(Resolution::from_seconds(10).unwrap(), 4);
        assert!(sums.add(Tick(50), &one(0, 5)));
        assert!(!sums.add(Tick(10), &one(0, 3)));
        assert_eq!(sums.get(Tick(50), 0), Some(5));
        assert!(sums.add(Tick(90), &one(1, 1)));
        assert_eq!(sums.ticks(), [Tick(90)]);
    }
}

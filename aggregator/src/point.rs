//! Values as they are answered, and how fast counters grew.

use tally_proto::{
    rate,
    tick::{Tick, UnixMs},
};

/// One number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Exact.
    Integer(i64),
    /// A double.
    Float(f64),
}

impl Value {
    /// Of a stored value.
    pub fn of(stored: i64, floating: bool) -> Self {
        if floating {
            Self::Float(f64::from_bits(stored.cast_unsigned()))
        } else {
            Self::Integer(stored)
        }
    }

    /// As it is stored.
    pub fn stored(self) -> i64 {
        match self {
            Self::Integer(value) => value,
            Self::Float(value) => value.to_bits().cast_signed(),
        }
    }

    /// As a double.
    #[expect(clippy::as_conversions, reason = "a double is what is asked for")]
    pub fn as_f64(self) -> f64 {
        match self {
            Self::Integer(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    /// The sum; exact where both are.
    pub fn plus(self, other: Self) -> Self {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => Self::Integer(a.saturating_add(b)),
            (a, b) => Self::Float(a.as_f64() + b.as_f64()),
        }
    }

    /// In ascending order; whole numbers are compared exactly.
    pub fn order(&self, other: &Self) -> std::cmp::Ordering {
        match (self, other) {
            (Self::Integer(a), Self::Integer(b)) => a.cmp(b),
            (a, b) => a.as_f64().total_cmp(&b.as_f64()),
        }
    }
}

/// One point of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// The tick it is stamped with; the first of its bucket in the coarser tiers.
    pub at: Tick,
    /// What it was then.
    pub value: Value,
}

/// A counter's reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// The tick.
    pub tick: Tick,
    /// Microseconds after it.
    pub offset: i64,
    /// What it said.
    pub total: i64,
}

impl Reading {
    /// When it was read, cut to a millisecond.
    pub fn at(self) -> UnixMs {
        let tick = self.tick.unix_ms();
        UnixMs(tick.0.saturating_add(self.offset.div_euclid(1000)))
    }

    /// How fast the counter grew since: in thousandths of a core when `millicores`, else a second.
    /// `None` when it went back or no time passed.
    pub fn rate_since(self, before: Reading, millicores: bool) -> Option<Value> {
        let elapsed = elapsed_us((before.tick, before.offset), (self.tick, self.offset))?;
        let growth = rate::growth(before.total, self.total).ok()?;
        if millicores {
            rate::millicores(growth, elapsed).ok().map(Value::Integer)
        } else {
            rate::per_second(growth, elapsed).ok().map(Value::Float)
        }
    }
}

/// Microseconds between two readings, each a tick and an offset; `None` when the second is not
/// later.
pub fn elapsed_us(earlier: (Tick, i64), later: (Tick, i64)) -> Option<u64> {
    if later.0 <= earlier.0 {
        return None;
    }
    let seconds = i64::try_from(later.0.0 - earlier.0.0).ok()?;
    let elapsed = seconds.checked_mul(1_000_000)?.checked_add(later.1)?.checked_sub(earlier.1)?;
    u64::try_from(elapsed).ok().filter(|elapsed| *elapsed != 0)
}

//! Rates of cumulative counters, divided by the time that really passed.
//!
//! A counter that went back has begun a new life (or its source lied), and no time passed means
//! no rate: both are said, never turned into a number.

/// Why there is no rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRate {
    /// The later reading is smaller than the earlier.
    #[error("the counter went back")]
    WentBack,
    /// The later reading is not later.
    #[error("no time passed between the readings")]
    NotLater,
}

/// How much a counter grew.
pub fn growth(earlier: i64, later: i64) -> Result<u64, NoRate> {
    let growth = later.checked_sub(earlier).ok_or(NoRate::WentBack)?;
    u64::try_from(growth).map_err(|_| NoRate::WentBack)
}

/// CPU time as thousandths of a core, cut to a whole number as Heapster does.
pub fn millicores(growth_ns: u64, elapsed_us: u64) -> Result<i64, NoRate> {
    // One core is 1,000 ns a microsecond, so ns per µs is millicores.
    let rate = growth_ns.checked_div(elapsed_us).ok_or(NoRate::NotLater)?;
    Ok(i64::try_from(rate).unwrap_or(i64::MAX))
}

/// CPU time as billionths of a core.
pub fn nanocores(growth_ns: u64, elapsed_us: u64) -> Result<u64, NoRate> {
    // One core is 1,000 ns a microsecond.
    let rate = (u128::from(growth_ns) * 1_000_000).checked_div(u128::from(elapsed_us));
    Ok(u64::try_from(rate.ok_or(NoRate::NotLater)?).unwrap_or(u64::MAX))
}

/// Growth each second.
#[expect(clippy::as_conversions, reason = "a double holds every rate to 15 digits")]
pub fn per_second(growth: u64, elapsed_us: u64) -> Result<f64, NoRate> {
    if elapsed_us == 0 {
        return Err(NoRate::NotLater);
    }
    Ok(growth as f64 * 1e6 / elapsed_us as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_that_went_back_has_no_growth() {
        assert_eq!(growth(5, 4), Err(NoRate::WentBack));
        assert_eq!(growth(i64::MIN, i64::MAX), Err(NoRate::WentBack));
        assert_eq!(growth(4, 9), Ok(5));
    }

    #[test]
    fn no_time_no_rate() {
        assert_eq!(millicores(5, 0), Err(NoRate::NotLater));
        assert_eq!(nanocores(5, 0), Err(NoRate::NotLater));
        assert_eq!(per_second(5, 0), Err(NoRate::NotLater));
    }

    #[test]
    fn millicores_are_cut_and_rates_are_exact() {
        assert_eq!(millicores(127_999, 10_000), Ok(12));
        assert_eq!(nanocores(127_999, 10_000), Ok(12_799_900));
        assert_eq!(nanocores(u64::MAX, 1), Ok(u64::MAX));
        assert_eq!(per_second(3, 2_000_000), Ok(1.5));
    }
}

//! Which tier answers for which day.
//!
//! A day that lies wholly in the range is read from the coarsest tier that is fine enough; a day at
//! either end of it from raw values, as buckets reach over its ends; and what has no coarser tier
//! yet, or raw values newer than it, from raw values too. Where raw values are gone, the finest
//! that is left answers.

use std::ops::RangeInclusive;

use tally_proto::tick::Tick;

use super::{
    file::{Tier, Window},
    question::days,
    series::Row,
    store::{Files, of_day},
};

/// A day's part of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Where it is read.
    pub(super) tier: Tier,
    /// The day.
    pub(super) window: Window,
    /// The first tick.
    pub(super) first: Tick,
    /// The last.
    pub(super) last: Tick,
}

/// The pieces of a range, ascending. `coarsest` is the coarsest tier that is fine enough.
pub(super) fn plan(files: &Files, first: Tick, last: Tick, coarsest: Tier) -> Vec<Piece> {
    let piece = |window: Window| {
        let whole = first <= window.first() && window.last() <= last;
        let tier = tier(files, window, coarsest, whole)?;
        let (first, last) = (first.max(window.first()), last.min(window.last()));
        Some(Piece { tier, window, first, last })
    };
    days(files, first, last).into_iter().filter_map(piece).collect()
}

/// The pieces, and one for each day that only `recent` rows have.
pub(super) fn with_recent_days(
    mut pieces: Vec<Piece>,
    recent: &[Row],
    (first, last): (Tick, Tick),
) -> Vec<Piece> {
    let timelines = recent.iter().flat_map(|row| &row.series).map(|series| &series.timeline);
    let ends = timelines.flat_map(|timeline| timeline.first().into_iter().chain(timeline.last()));
    let Some((oldest, newest)) = ends.fold(None, |known: Option<(Tick, Tick)>, at| {
        let (oldest, newest) = known.unwrap_or((at, at));
        Some((oldest.min(at), newest.max(at)))
    }) else {
        return pieces;
    };
    let (oldest, newest) = (oldest.max(first), newest.min(last));
    for window in (Window::of(oldest).0..=Window::of(newest).0).map(Window) {
        if oldest <= newest && !pieces.iter().any(|piece| piece.window == window) {
            let (first, last) = (first.max(window.first()), last.min(window.last()));
            pieces.push(Piece { tier: Tier::Raw, window, first, last });
        }
    }
    pieces.sort_by_key(|piece| piece.window);
    pieces
}

fn tier(files: &Files, window: Window, coarsest: Tier, whole: bool) -> Option<Tier> {
    let held = |tier| {
        let files = of_day(files, tier, window);
        Some((files.first()?.name.first, files.last()?.name.last))
    };
    // Raw values that came when those before them were gone already are not the day.
    let is_rest = |(first, _): &(u64, u64)| {
        let mut coarser = Tier::ALL.into_iter().filter(|tier| *tier != Tier::Raw).filter_map(held);
        coarser.any(|(tier_first, _)| tier_first < *first)
    };
    let raw = held(Tier::Raw).filter(|raw| !is_rest(raw));
    let newest = raw.map(|(_, last)| last);
    let fresh = |tier: &Tier| held(*tier).is_some_and(|(_, last)| newest <= Some(last));
    let mut coarser = Tier::ALL.into_iter().rev();
    let allowed = coarser.find(|tier| Tier::Raw < *tier && *tier <= coarsest && fresh(tier));
    match (allowed, raw) {
        (Some(tier), _) if whole => Some(tier),
        (_, Some(_)) => Some(Tier::Raw),
        (Some(tier), None) => Some(tier),
        (None, None) => Tier::ALL.into_iter().skip(1).find(|tier| held(*tier).is_some()),
    }
}

/// The ranges that raw values answer for, adjoining ones as one.
pub(super) fn raw_ranges(pieces: &[Piece]) -> Vec<RangeInclusive<Tick>> {
    let mut ranges: Vec<RangeInclusive<Tick>> = Vec::new();
    for piece in pieces.iter().filter(|piece| piece.tier == Tier::Raw) {
        match ranges.last_mut() {
            Some(before) if before.end().0.checked_add(1) == Some(piece.first.0) => {
                *before = *before.start()..=piece.last;
            }
            _ => ranges.push(piece.first..=piece.last),
        }
    }
    ranges
}

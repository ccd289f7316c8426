//! Series that others explain: a working set follows usage, a pod the sum of its containers.
//!
//! A relation is a sum of other series of the block, each with its sign; what is stored is the
//! difference from that sum, which is exact whatever it is, and nothing when the sum is. Relations
//! are at most [`DEPTH`] steps deep, so that reading one series never takes many others.
//!
//! Nothing about metrics is known here. Which columns explain which is learned from a few rows of
//! each block, by what the remainders would cost; then each row takes what is cheapest for it.

use std::{cell::OnceCell, collections::BTreeMap};

use super::remainder::cost;

/// Most series in one relation: a pod rarely has more containers.
pub(in crate::history) const TERMS: usize = 7;

/// How many relations may follow one another: a container's offset is told from its pod's, and
/// that from its host's first pod.
pub(in crate::history) const DEPTH: u8 = 2;

/// Rows of a block that relations are learned from.
const ROWS_TRIED: usize = 6;

/// Positions of a series that are looked at to compare costs.
const POSITIONS: usize = 64;

/// Relations between columns that each row of a column tries.
const KEPT: usize = 2;

/// Bits that a relation takes in the directory, about.
const TERM_BITS: u64 = 24;

/// A series of the block, by row and place in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::history) struct Term {
    /// The row.
    pub row: usize,
    /// The place in the row.
    pub place: usize,
    /// Whether it is taken away.
    pub minus: bool,
}

/// What is known of a series while relations are sought.
#[derive(Clone, Debug)]
pub(in crate::history) struct Moves {
    /// Its column.
    pub column: usize,
    /// Its timeline: only series of the same ticks are related.
    pub timeline: usize,
    /// Differences from tick to tick; none where nothing moves.
    pub differences: Vec<i64>,
    /// A linear hash of them: that of a sum is the sum of those of its parts. Worked out for the
    /// few series that are asked.
    print: OnceCell<u64>,
    /// What the looked-at differences cost by themselves; 0 when nothing moves.
    own_cost: u64,
    /// Whether any difference is not zero.
    pub moving: bool,
    /// What it refers to.
    pub terms: Vec<Term>,
    /// How many relations there are above it, one after the other.
    above: u8,
}

/// An odd number without structure.
const BASE: u64 = 0x9e37_79b9_7f4a_7c15;

impl Moves {
    /// What there is to know of the differences of a series.
    pub(in crate::history) fn new(column: usize, timeline: usize, differences: Vec<i64>) -> Self {
        let moving = differences.iter().any(|one| *one != 0);
        let differences = if moving { differences } else { Vec::new() };
        let own_cost = looked_at(differences.len())
            .filter_map(|at| differences.get(at))
            .map(|one| cost(*one))
            .sum();
        let (print, terms) = (OnceCell::new(), Vec::new());
        Self { column, timeline, differences, print, own_cost, moving, terms, above: 0 }
    }

    fn print(&self) -> u64 {
        let hashed =
            |hash: u64, one: &i64| hash.wrapping_mul(BASE).wrapping_add(one.cast_unsigned());
        *self.print.get_or_init(|| self.differences.iter().fold(0, hashed))
    }
}

fn looked_at(length: usize) -> impl Iterator<Item = usize> {
    (0..length).step_by(length.div_ceil(POSITIONS).max(1))
}

/// Columns of the same row whose sum explains another, each with its sign.
type Pattern = Vec<(usize, bool)>;

/// What rows are to each other.
#[derive(Clone, Debug, Default)]
pub(in crate::history) struct Kin {
    /// The rows that are parts of this one: a pod's containers.
    pub parts: Vec<usize>,
    /// A row before it that is read in the same breath: of the same pod, or else of the same host.
    pub neighbour: Option<usize>,
}

/// Finds relations for all series of a block: [`Moves::terms`] of each, empty for most.
/// `neighbourly` is the column whose series are told from their neighbours'.
pub(in crate::history) fn relations(
    rows: &mut [Vec<Moves>],
    kin: &[Kin],
    columns: usize,
    neighbourly: Option<usize>,
) {
    for (column, places) in places(rows, columns).into_iter().enumerate() {
        let patterns = learn(rows, &places);
        for (row, place) in places {
            let terms = if neighbourly == Some(column) {
                neighbour(rows, kin, row, place)
            } else {
                best(rows, kin, &patterns, row, place)
            };
            if !terms.is_empty() {
                note(rows, row, place, terms);
            }
        }
    }
}

/// For each column the rows that have something moving in it, and where.
fn places(rows: &[Vec<Moves>], columns: usize) -> Vec<Vec<(usize, usize)>> {
    let mut places = vec![Vec::new(); columns];
    for (row, series) in rows.iter().enumerate() {
        for (place, one) in series.iter().enumerate().filter(|(_, one)| one.moving) {
            if let Some(of_column) = places.get_mut(one.column) {
                of_column.push((row, place));
            }
        }
    }
    places
}

fn note(rows: &mut [Vec<Moves>], row: usize, place: usize, terms: Vec<Term>) {
    let Some(series) = rows.get_mut(row).and_then(|row| row.get_mut(place)) else { return };
    let above = series.above + 1;
    series.terms.clone_from(&terms);
    terms.into_iter().for_each(|term| raise(rows, term, above));
}

/// Notes that a series, and so those below it, have so many relations above them.
fn raise(rows: &mut [Vec<Moves>], term: Term, above: u8) {
    let Some(series) = rows.get_mut(term.row).and_then(|row| row.get_mut(term.place)) else {
        return;
    };
    if series.above < above {
        series.above = above;
        for below in series.terms.clone() {
            raise(rows, below, above + 1);
        }
    }
}

/// How many relations there are below a series, one after the other.
fn below(rows: &[Vec<Moves>], one: &Moves) -> u8 {
    let terms = one.terms.iter().filter_map(|term| at(rows, *term));
    terms.map(|term| 1 + below(rows, term)).max().unwrap_or(0)
}

/// Whether a relation from `target` to `other` leaves all chains short enough. A circle would not.
fn leaves_short(rows: &[Vec<Moves>], target: &Moves, other: &Moves) -> bool {
    target.above + 1 + below(rows, other) <= DEPTH
}

fn at(rows: &[Vec<Moves>], term: Term) -> Option<&Moves> {
    rows.get(term.row)?.get(term.place)
}

/// Which columns explain this one, in a few of its rows.
fn learn(rows: &[Vec<Moves>], places: &[(usize, usize)]) -> Vec<Pattern> {
    let mut votes: BTreeMap<Pattern, u64> = BTreeMap::new();
    for (row, place) in places.iter().step_by(places.len().div_ceil(ROWS_TRIED).max(1)) {
        let Some(series) = rows.get(*row) else { continue };
        let Some(target) = series.get(*place) else { continue };
        let others: Vec<&Moves> =
            series.iter().filter(|other| can_explain(rows, other, target)).collect();
        for (pattern, saved) in singles(target, &others).into_iter().chain(pairs(target, &others)) {
            *votes.entry(pattern).or_default() += saved;
        }
    }
    let mut kept: Vec<(u64, Pattern)> =
        votes.into_iter().map(|(pattern, saved)| (saved, pattern)).collect();
    kept.sort_by(|a, b| b.cmp(a));
    kept.into_iter().take(KEPT).map(|(_, pattern)| pattern).collect()
}

fn can_explain(rows: &[Vec<Moves>], other: &Moves, target: &Moves) -> bool {
    other.moving
        && other.timeline == target.timeline
        && other.column != target.column
        && leaves_short(rows, target, other)
}

/// Single columns that make the target cheaper, with what they save.
fn singles(target: &Moves, others: &[&Moves]) -> Vec<(Pattern, u64)> {
    let signs = others.iter().flat_map(|other| [(*other, false), (*other, true)]);
    let saving = |(other, minus): (&Moves, bool)| {
        let cost = cost_past(target, &[(other, minus)], target.own_cost)?;
        Some((vec![(other.column, minus)], target.own_cost - cost))
    };
    signs.filter_map(saving).collect()
}

/// Pairs of columns whose sum or difference is the target.
fn pairs(target: &Moves, others: &[&Moves]) -> Vec<(Pattern, u64)> {
    let mut found = Vec::new();
    for (place, one) in others.iter().enumerate() {
        for other in others.iter().skip(place + 1) {
            for (minus_one, minus_other) in [(false, false), (false, true), (true, false)] {
                let print =
                    signed_print(one, minus_one).wrapping_add(signed_print(other, minus_other));
                if print == target.print() {
                    let pattern = vec![(one.column, minus_one), (other.column, minus_other)];
                    found.push((pattern, target.own_cost));
                }
            }
        }
    }
    found
}

fn signed_print(moves: &Moves, minus: bool) -> u64 {
    if minus { moves.print().wrapping_neg() } else { moves.print() }
}

/// What the looked-at remainders of `target` cost when `terms` are taken out of it, if that is below
/// `limit`.
fn cost_past(target: &Moves, terms: &[(&Moves, bool)], limit: u64) -> Option<u64> {
    let mut all = 0;
    for at in looked_at(target.differences.len()) {
        let mut one = target.differences.get(at).copied().unwrap_or(0);
        for (term, minus) in terms {
            let other = term.differences.get(at).copied().unwrap_or(0);
            one = if *minus { one.wrapping_add(other) } else { one.wrapping_sub(other) };
        }
        all += cost(one);
        if limit <= all {
            return None;
        }
    }
    (all < limit).then_some(all)
}

/// The relation that makes a series cheapest, if any does.
fn best(
    rows: &[Vec<Moves>],
    kin: &[Kin],
    patterns: &[Pattern],
    row: usize,
    place: usize,
) -> Vec<Term> {
    let Some(target) = rows.get(row).and_then(|series| series.get(place)) else {
        return Vec::new();
    };
    let in_row = patterns.iter().map(|pattern| {
        let terms = pattern.iter().map(|(column, minus)| term(rows, target, row, *column, *minus));
        terms.collect::<Option<Vec<Term>>>()
    });
    let parts = kin.get(row).map_or(&[][..], |kin| &kin.parts);
    let of_parts = Some(parts).filter(|parts| !parts.is_empty() && parts.len() <= TERMS);
    let of_parts = of_parts.map(|parts| {
        let moving = parts.iter().filter(|part| moves(rows, **part, target.column));
        moving.map(|part| term(rows, target, *part, target.column, false)).collect()
    });
    cheapest(rows, target, of_parts.into_iter().chain(in_row).flatten())
}

/// The relation to the row that was read in the same breath.
fn neighbour(rows: &[Vec<Moves>], kin: &[Kin], row: usize, place: usize) -> Vec<Term> {
    let Some(target) = rows.get(row).and_then(|series| series.get(place)) else {
        return Vec::new();
    };
    let beside = kin.get(row).and_then(|kin| kin.neighbour);
    let terms = beside.and_then(|beside| term(rows, target, beside, target.column, false));
    cheapest(rows, target, terms.map(|term| vec![term]).into_iter())
}

/// Whether a row has something moving in a column.
fn moves(rows: &[Vec<Moves>], row: usize, column: usize) -> bool {
    let series = rows.get(row).and_then(|series| {
        series.get(series.binary_search_by_key(&column, |one| one.column).ok()?)
    });
    series.is_some_and(|series| series.moving)
}

fn term(
    rows: &[Vec<Moves>],
    target: &Moves,
    row: usize,
    column: usize,
    minus: bool,
) -> Option<Term> {
    let series = rows.get(row)?;
    let place = series.binary_search_by_key(&column, |one| one.column).ok()?;
    let other = series.get(place)?;
    let fits =
        other.moving && other.timeline == target.timeline && leaves_short(rows, target, other);
    fits.then_some(Term { row, place, minus })
}

fn cheapest(
    rows: &[Vec<Moves>],
    target: &Moves,
    relations: impl Iterator<Item = Vec<Term>>,
) -> Vec<Term> {
    let looked = u64::try_from(looked_at(target.differences.len()).count().max(1)).unwrap_or(1);
    let all = u64::try_from(target.differences.len()).unwrap_or(u64::MAX);
    let whole = |cost: u64| cost.saturating_mul(all) / looked;
    let mut least = whole(target.own_cost) / 10 * 9;
    let mut chosen = Vec::new();
    if least <= TERM_BITS {
        return chosen;
    }
    for terms in relations.filter(|terms| !terms.is_empty()) {
        let known: Vec<(&Moves, bool)> =
            terms.iter().filter_map(|term| Some((at(rows, *term)?, term.minus))).collect();
        let count = u64::try_from(terms.len()).unwrap_or(u64::MAX);
        // The least cost that would be too much.
        let left = least.saturating_sub(TERM_BITS * count);
        let limit = left.saturating_mul(looked).div_ceil(all.max(1));
        if let Some(cost) = cost_past(target, &known, limit) {
            least = whole(cost).saturating_add(TERM_BITS * count);
            chosen = terms;
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(series: &[&[i64]]) -> Vec<Moves> {
        let moves = |(column, one): (usize, &&[i64])| Moves::new(column, 0, one.repeat(40));
        series.iter().enumerate().map(moves).collect()
    }

    fn found(mut rows: Vec<Vec<Moves>>, kin: &[Kin]) -> Vec<(usize, usize, Vec<Term>)> {
        relations(&mut rows, kin, 3, None);
        let places = rows.iter().enumerate().flat_map(|(row, series)| {
            series.iter().enumerate().map(move |(place, one)| (row, place, one.terms.clone()))
        });
        places.filter(|(_, _, terms)| !terms.is_empty()).collect()
    }

    fn plus(row: usize, place: usize) -> Term {
        Term { row, place, minus: false }
    }

    #[test]
    fn a_column_that_follows_another_refers_to_it() {
        let rows = vec![row(&[&[5000, 90_000, -4], &[1, 0, 0], &[5000, 90_000, 0]])];
        assert_eq!(found(rows, &[]), [(0, 0, vec![plus(0, 2)])]);
    }

    #[test]
    fn a_sum_of_two_columns_is_found_by_its_print() {
        let rows = vec![row(&[&[70_000, 33, 9], &[-6, 800, 12_345], &[69_994, 833, 12_354]])];
        let minus = Term { row: 0, place: 1, minus: true };
        assert_eq!(found(rows, &[]).first(), Some(&(0, 0, vec![minus, plus(0, 2)])));
    }

    #[test]
    fn a_pod_refers_to_its_containers() {
        let (a, b) = ([70_000, 33, 0], [-6, 800, 12_345]);
        let rows = vec![row(&[&[69_994, 833, 12_345]]), row(&[&a]), row(&[&b])];
        let kin = [Kin { parts: vec![1, 2], neighbour: None }, Kin::default(), Kin::default()];
        assert_eq!(found(rows, &kin), [(0, 0, vec![plus(1, 0), plus(2, 0)])]);
    }

    #[test]
    fn relations_are_two_steps_deep_at_most_and_never_in_a_circle() {
        let same: &[i64] = &[70_000, 33, 0];
        let mut rows: Vec<Vec<Moves>> = (0..6).map(|_| row(&[same, same, same])).collect();
        let kin: Vec<Kin> =
            (0..6).map(|row| Kin { parts: vec![(row + 1) % 6], neighbour: None }).collect();
        relations(&mut rows, &kin, 3, None);
        assert!(rows.iter().flatten().all(|one| below(&rows, one) <= DEPTH));
        assert!(rows.iter().flatten().filter(|one| !one.terms.is_empty()).count() >= 9);
    }

    #[test]
    fn what_has_nothing_to_do_with_another_does_not_refer_to_it() {
        let rows = vec![row(&[&[5000, 90_000, -4], &[1, 0, 0], &[7, 7, 8]])];
        assert!(found(rows, &[]).is_empty());
    }
}

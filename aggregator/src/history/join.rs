//! Series cut at ticks and put together again. Where two parts have a value for the same tick,
//! that of the later write counts: sums change when late samples come in.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use tally_proto::tick::Tick;

use super::{
    series::{Row, Series, What},
    timeline::Timeline,
};

/// The part of a row from `first` to `last`, both included, without copying where that is all of
/// it; `None` when there is nothing. For rows without sketches.
pub fn into_cut(row: Row, first: Tick, last: Tick) -> Option<Row> {
    let is_within = |timeline: &Timeline| {
        timeline.first().is_some_and(|own| first <= own)
            && timeline.last().is_some_and(|own| own <= last)
    };
    let is_whole = !row.series.is_empty() && row.series.iter().all(|one| is_within(&one.timeline));
    if is_whole { Some(row) } else { cut(&row, first, last) }
}

/// The part of a row from `first` to `last`, both included; `None` when there is nothing.
/// For rows without sketches.
pub fn cut(row: &Row, first: Tick, last: Tick) -> Option<Row> {
    // Series share timelines, so that each is cut once.
    let mut cuts: Vec<(&Arc<Timeline>, usize, Arc<Timeline>)> = Vec::new();
    let mut series = Vec::new();
    for one in &row.series {
        let known = cuts.iter().find(|(of, ..)| Arc::ptr_eq(of, &one.timeline));
        let (skipped, timeline) = match known {
            Some((_, skipped, timeline)) => (*skipped, Arc::clone(timeline)),
            None => {
                let skipped = one.timeline.iter().take_while(|tick| *tick < first).count();
                let rest = one.timeline.iter().skip(skipped).take_while(|tick| *tick <= last);
                let timeline = Arc::new(Timeline::of(rest));
                cuts.push((&one.timeline, skipped, Arc::clone(&timeline)));
                (skipped, timeline)
            }
        };
        if !timeline.is_empty() {
            let values = one.values.iter().skip(skipped).take(timeline.len()).copied().collect();
            let what = Arc::clone(&one.what);
            series.push(Series { what, timeline, values, sketches: Vec::new() });
        }
    }
    (!series.is_empty()).then(|| Row { life: Arc::clone(&row.life), series })
}

/// One series of parts of it, the earliest write first. For series without sketches.
pub(super) fn join<'a>(parts: &[&'a Series]) -> Option<Cow<'a, Series>> {
    if let [part] = parts {
        return Some(Cow::Borrowed(part));
    }
    let what = Arc::clone(&parts.first()?.what);
    let follows = |pair: &[&Series]| match pair {
        [before, after] => before.timeline.last() < after.timeline.first(),
        _ => true,
    };
    let (timeline, values) = if parts.windows(2).all(follows) {
        let mut timeline = Timeline::default();
        let mut values = Vec::with_capacity(parts.iter().map(|part| part.values.len()).sum());
        for part in parts {
            timeline.append(&part.timeline);
            values.extend_from_slice(&part.values);
        }
        (timeline, values)
    } else {
        let points = parts.iter().flat_map(|part| part.timeline.iter().zip(&part.values));
        let by_tick: BTreeMap<Tick, i64> = points.map(|(tick, value)| (tick, *value)).collect();
        (Timeline::of(by_tick.keys().copied()), by_tick.into_values().collect())
    };
    let timeline = Arc::new(timeline);
    Some(Cow::Owned(Series { what, timeline, values, sketches: Vec::new() }))
}

/// One row of rows of the same life, the earliest write first.
pub fn join_rows(mut rows: Vec<Row>) -> Option<Row> {
    if rows.len() < 2 {
        return rows.pop();
    }
    let life = Arc::clone(&rows.first()?.life);
    let mut by_what: BTreeMap<&Arc<What>, Vec<&Series>> = BTreeMap::new();
    for series in rows.iter().flat_map(|row| &row.series) {
        by_what.entry(&series.what).or_default().push(series);
    }
    let joined = by_what.values().filter_map(|parts| join(parts));
    let mut series: Vec<Series> = joined.map(Cow::into_owned).collect();
    let first = by_what.keys().take_while(|what| !what.is_metric());
    if 1 < first.filter(|what| what.is_stored_labels()).count() {
        keep_latest_labels(&rows, &mut series);
    }
    share_timelines(&mut series);
    Some(Row { life, series })
}

/// Leaves a tick the stored labels that the later of the rows has for it, as with values.
fn keep_latest_labels(rows: &[Row], series: &mut Vec<Series>) {
    let mut latest: BTreeMap<Tick, &Arc<What>> = BTreeMap::new();
    for labels in rows.iter().flat_map(Row::stored_labels) {
        latest.extend(labels.timeline.iter().map(|tick| (tick, &labels.what)));
    }
    for labels in series.iter_mut().filter(|one| one.what.is_stored_labels()) {
        let points = labels.timeline.iter().zip(&labels.values);
        let kept = points.filter(|(tick, _)| latest.get(tick) == Some(&&labels.what));
        let (ticks, values): (Vec<Tick>, Vec<i64>) = kept.unzip();
        if values.len() < labels.values.len() {
            (labels.timeline, labels.values) = (Arc::new(Timeline::of(ticks)), values);
        }
    }
    series.retain(|one| !one.timeline.is_empty());
}

/// Gives equal timelines one place in memory, by which encoding knows them.
fn share_timelines(series: &mut [Series]) {
    let mut known: Vec<Arc<Timeline>> = Vec::new();
    for one in series {
        match known.iter().find(|timeline| **timeline == one.timeline) {
            Some(timeline) => one.timeline = Arc::clone(timeline),
            None => known.push(Arc::clone(&one.timeline)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(points: &[(u64, i64)]) -> Series {
        let ticks = points.iter().map(|(tick, _)| Tick(*tick));
        Series {
            what: Arc::new(What::ReadOffset),
            timeline: Arc::new(Timeline::of(ticks)),
            values: points.iter().map(|(_, value)| *value).collect(),
            sketches: Vec::new(),
        }
    }

    #[track_caller]
    fn check(parts: &[&[(u64, i64)]], joined: &[(u64, i64)]) {
        let parts: Vec<Series> = parts.iter().map(|points| part(points)).collect();
        let parts: Vec<&Series> = parts.iter().collect();
        assert_eq!(join(&parts).map(Cow::into_owned), Some(part(joined)));
    }

    #[test]
    fn of_two_values_for_a_tick_the_later_write_counts() {
        check(
            &[&[(1, 10), (2, 20), (9, 90)], &[(2, 21), (3, 30)]],
            &[(1, 10), (2, 21), (3, 30), (9, 90)],
        );
    }

    #[test]
    fn parts_that_follow_one_another_are_put_end_to_end() {
        check(
            &[&[(1, 10), (2, 20)], &[(3, 30), (4, 40)], &[(9, 90)]],
            &[(1, 10), (2, 20), (3, 30), (4, 40), (9, 90)],
        );
        assert_eq!(join(&[]), None);
    }

    #[test]
    fn a_cut_keeps_both_ends() {
        let life = super::super::life::Life { who: super::super::life::Who::Cluster, start: None };
        let row = Row { life: Arc::new(life), series: vec![part(&[(1, 10), (2, 20), (3, 30)])] };
        let kept = |first, last| {
            let cut = cut(&row, Tick(first), Tick(last));
            assert_eq!(into_cut(row.clone(), Tick(first), Tick(last)), cut);
            cut.map(|mut row| row.series.remove(0).values)
        };
        assert_eq!(kept(2, 3), Some(vec![20, 30]));
        assert_eq!(kept(1, 1), Some(vec![10]));
        assert_eq!(kept(1, 3), Some(vec![10, 20, 30]));
        assert_eq!(kept(4, 9), None);
    }
}

//! Stored labels of an entity, joined to its numbers by their times.

use std::collections::BTreeSet;

use tally_proto::metric::Labels;

use super::family::label_name;
use crate::history::{
    point::Point,
    series::{Row, Series, What},
};

/// What exports call the names of an entity. No other label has such a name.
pub const ENTITY_LABELS: [&str; 6] = ["kind", "node", "namespace", "pod", "pod_uid", "container"];

/// Which stored labels an entity had, and when.
#[derive(Debug)]
pub(super) struct StoredLabels<'a>(Vec<(&'a Labels, &'a Series)>);

impl<'a> StoredLabels<'a> {
    /// Those of parts of one entity's rows, the earliest write first.
    pub(super) fn of(parts: impl IntoIterator<Item = &'a Row>) -> Self {
        let all = parts.into_iter().flat_map(Row::stored_labels);
        let named = all.filter_map(|series| match &*series.what {
            What::StoredLabels(labels) => Some((labels, series)),
            What::ReadOffset | What::Metric(_) => None,
        });
        Self(named.collect())
    }

    /// A metric's points, which ascend, by the labels that are shown beside the metric's own: those
    /// that the entity had at the point's time; of a bucket, those that it had last in it.
    pub(super) fn split(&self, points: Vec<Point>, own: &Labels) -> Vec<(Labels, Vec<Point>)> {
        if self.0.is_empty() {
            return vec![(Labels::none(), points)];
        }
        let shown: Vec<Labels> = self.0.iter().map(|(labels, _)| beside(labels, own)).collect();
        let distinct: BTreeSet<Labels> = shown.iter().cloned().chain([Labels::none()]).collect();
        let mut found: Vec<(Labels, Vec<Point>)> =
            distinct.into_iter().map(|labels| (labels, Vec::new())).collect();
        let group = |labels: &Labels| found.iter().position(|(known, _)| known == labels);
        let (groups, none) = (shown.iter().map(group).collect::<Vec<_>>(), group(&Labels::none()));
        let mut cursors: Vec<_> = self
            .0
            .iter()
            .map(|(_, had)| had.timeline.iter().zip(had.values.iter().copied()).peekable())
            .collect();
        for point in points {
            let mut latest = None;
            for (cursor, group) in cursors.iter_mut().zip(&groups) {
                while cursor.next_if(|(tick, _)| *tick < point.at).is_some() {}
                // Of those in one bucket the later counts; of late ones for the same time, too.
                if let Some((_, until)) = cursor.peek().filter(|(tick, _)| *tick == point.at)
                    && latest.is_none_or(|(known, _)| known <= *until)
                {
                    latest = Some((*until, *group));
                }
            }
            let place = latest.map_or(none, |(_, group)| group);
            if let Some((_, points)) = place.and_then(|place| found.get_mut(place)) {
                points.push(point);
            }
        }
        found.retain(|(_, points)| !points.is_empty());
        found
    }
}

/// Stored labels without those whose names, as exports write them, the entity or the metric has.
fn beside(stored: &Labels, own: &Labels) -> Labels {
    let own: BTreeSet<String> = own.iter().map(|(key, _)| label_name(key)).collect();
    let is_free = |key: &str| {
        let name = label_name(key);
        !ENTITY_LABELS.contains(&&*name) && !own.contains(&name)
    };
    // A part of a valid set is one.
    Labels::new(stored.iter().filter(|(key, _)| is_free(key))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tally_proto::tick::Tick;

    use super::*;
    use crate::history::{
        life::{Life, Who},
        point::Value,
        timeline::Timeline,
    };

    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn labels(pairs: Pairs<'_>) -> Labels {
        Labels::new(pairs.iter().copied()).unwrap()
    }

    /// A row that had labels, each until some seconds after some ticks.
    fn row(all: &[(Pairs<'_>, &[(u64, i64)])]) -> Row {
        let series = all.iter().map(|(pairs, had)| Series {
            what: Arc::new(What::StoredLabels(labels(pairs))),
            timeline: Arc::new(Timeline::of(had.iter().map(|(tick, _)| Tick(*tick)))),
            values: had.iter().map(|(_, until)| *until).collect(),
            sketches: Vec::new(),
        });
        let life = Arc::new(Life { who: Who::Cluster, start: None });
        Row { life, series: series.collect() }
    }

    /// The ticks of each label set, of points at 10, 20, 30 and 40.
    #[track_caller]
    fn check(parts: &[Row], own: &Labels, expected: &[(Pairs<'_>, &[u64])]) {
        let point = |at| Point { at: Tick(at), value: Value::Integer(7) };
        let points = [10, 20, 30, 40].map(point).to_vec();
        let found = StoredLabels::of(parts).split(points, own);
        let found: Vec<(Labels, Vec<u64>)> = found
            .into_iter()
            .map(|(labels, points)| (labels, points.iter().map(|point| point.at.0).collect()))
            .collect();
        let expected: Vec<(Labels, Vec<u64>)> =
            expected.iter().map(|(pairs, ticks)| (labels(pairs), ticks.to_vec())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_point_has_the_labels_of_its_time() {
        let (web, shop) = ([("app", "web")], [("app", "shop")]);
        let parts = [row(&[(&web, &[(10, 0), (40, 0)]), (&shop, &[(15, 0), (20, 0)])])];
        let expected: [(Pairs<'_>, &[u64]); 3] = [(&[], &[30]), (&shop, &[20]), (&web, &[10, 40])];
        check(&parts, &Labels::none(), &expected);
        check(&[], &Labels::none(), &[(&[], &[10, 20, 30, 40])]);
    }

    #[test]
    fn of_two_in_a_bucket_the_later_counts_and_then_that_of_the_later_part() {
        let (web, shop) = ([("app", "web")], [("app", "shop")]);
        let parts = [row(&[(&web, &[(10, 5), (20, 7)]), (&shop, &[(10, 6), (20, 2)])])];
        let late = row(&[(&shop, &[(20, 7), (30, 0)])]);
        let bare: (Pairs<'_>, &[u64]) = (&[], &[30, 40]);
        check(&parts, &Labels::none(), &[bare, (&shop, &[10]), (&web, &[20])]);
        let parts = [parts.into(), vec![late]].concat();
        check(&parts, &Labels::none(), &[(&[], &[40]), (&shop, &[10, 20, 30])]);
    }

    #[test]
    fn a_name_of_the_entity_or_the_metric_is_not_a_stored_label_too() {
        let stored = [("resource.id", "a"), ("pod-uid", "b"), ("zone", "c")];
        let other = [("resource.id", "b"), ("zone", "c")];
        let parts = [row(&[(&stored, &[(10, 0), (30, 0)]), (&other, &[(20, 0), (40, 0)])])];
        let own = labels(&[("resource_id", "/")]);
        // What differs in nothing that is shown is one series, in the order of time.
        check(&parts, &own, &[(&[("zone", "c")], &[10, 20, 30, 40])]);
    }
}

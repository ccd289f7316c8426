//! Limits, parts of ranges, and giving up.

use tally_proto::{entity::Entity, name::NodeName};

use super::{
    fixture::{BEGIN, gauge, node, queries, rows, store},
    *,
};

const ALL: TickRange = TickRange::ALL;

fn asked<'a>(metric: &'a str, labels: &'a Labels) -> Asked<'a> {
    Asked { metric, labels, range: ALL }
}

fn named(entity: Entity) -> Option<PastSubject> {
    Some(PastSubject::Named(entity))
}

fn the_node() -> PastSubject {
    PastSubject::Named(Entity::Node(NodeName::parse("node-a").unwrap()))
}

#[test]
fn a_range_falls_into_parts_of_whole_days() {
    let range = |first, last| TickRange { first: Tick(first), last: Tick(last) };
    let day = WINDOW_S;
    let check = |of, expected: &[TickRange]| assert_eq!(parts(of).collect::<Vec<_>>(), expected);
    check(range(5, 5), &[range(5, 5)]);
    check(range(6, 5), &[]);
    check(range(5, 4 * day), &[range(5, 4 * day - 1), range(4 * day, 4 * day)]);
    let end = range(u64::MAX - 1, u64::MAX);
    check(end, &[end]);
}

#[test]
fn a_long_range_is_one_series() {
    let points: Vec<(u64, i64)> = (0..30).map(|day| (day * 43_200, 5)).collect();
    let counter = (0..30).map(|day| (day * 3_000, i64::try_from(day).unwrap() * 3_000_000_000_000));
    let counter: Vec<(u64, i64)> = counter.collect();
    let (store, _) = store(vec![
        gauge(node(), "memory/usage", &points),
        fixture::row(node(), ("cpu/usage", &[]), (false, true), &counter),
    ]);
    let queries = queries(store);
    let none = Labels::none();
    let series = |metric: &str| {
        let found = queries.series(&the_node(), asked(metric, &none), &Stop::default()).unwrap();
        found.iter().map(|point| (point.at.0 - BEGIN, point.value)).collect::<Vec<_>>()
    };
    let expected = points.iter().map(|(after, _)| (*after, super::super::Value::Integer(5)));
    assert_eq!(series("memory/usage"), expected.collect::<Vec<_>>());
    // The first of a day takes the reading before it from the day before.
    assert_eq!(series("cpu/usage_rate").len(), 29);
}

#[test]
fn what_is_too_large_is_said_with_what_to_do() {
    let (stored, _) = store(rows());
    let all = queries(stored);
    let none = Labels::none();
    let limits = PastLimits {
        points: 4,
        list_points: 5,
        buckets: 1,
        names: 1,
        items: 2,
        ..PastLimits::default()
    };
    let few = all.with_limits(limits);
    let stop = Stop::default();
    let memory = asked("memory/usage", &none);
    let said = |refused: PastError| refused.to_string();
    assert_eq!(
        said(few.series(&the_node(), memory, &stop).unwrap_err()),
        "the answer would have more than 4 points: ask for a shorter range, or for \
         metrics-aggregated with a bucket"
    );
    let twice = vec![Some(the_node()), Some(the_node())];
    assert!(few.several_series(&twice[..1], memory, &stop).is_ok());
    assert!(said(few.several_series(&twice, memory, &stop).unwrap_err()).contains("5 points"));
    let thrice = vec![None, None, None];
    assert!(said(few.several_series(&thrice, memory, &stop).unwrap_err()).contains("2 items"));
    assert!(said(few.aggregates(&thrice, memory, None, &stop).unwrap_err()).contains("2 items"));
    assert!(few.aggregates(&twice[..1], memory, None, &stop).is_ok());
    assert!(said(few.aggregates(&twice, memory, None, &stop).unwrap_err()).contains("1 buckets"));
    let pods = PastList::Pods("default".into());
    assert!(said(few.list(&pods, ALL, &stop).unwrap_err()).contains("more than 1 names"));
    let little = few.with_limits(PastLimits { bytes: 10, ..PastLimits::default() });
    assert!(matches!(little.series(&the_node(), memory, &stop), Err(PastError::TooMuch(_))));
}

#[test]
fn a_stopped_question_ends_at_its_next_read() {
    let queries = queries(store(rows()).0);
    let (stop, none) = (Stop::default(), Labels::none());
    stop.stop();
    let memory = asked("memory/usage", &none);
    assert!(matches!(queries.series(&the_node(), memory, &stop), Err(PastError::Stopped)));
    assert!(matches!(queries.list(&PastList::Nodes, ALL, &stop), Err(PastError::Stopped)));
    let cluster = [named(Entity::Cluster)];
    assert!(matches!(queries.aggregates(&cluster, memory, None, &stop), Err(PastError::Stopped)));
}

#[test]
fn a_question_that_begins_long_before_history_asks_for_no_more_than_there_is() {
    let queries = queries(store(rows()).0);
    let size = NonZeroU64::new(10_000);
    let none = Labels::none();
    let cluster = [Some(the_node())];
    let found = queries.aggregates(&cluster, asked("memory/usage", &none), size, &Stop::default());
    assert_eq!(found.unwrap()[0].len(), 5);
}

#[test]
fn damage_is_a_fault_with_the_name_of_the_file() {
    let (stored, disk) = store(rows());
    let name = stored.files().keys().next().unwrap().to_string();
    drop(stored);
    disk.corrupt(&name, 40);
    let (stored, _) = Store::open(Arc::new(disk), crate::history::cache::Cache::default()).unwrap();
    let none = Labels::none();
    let asked = asked("memory/usage", &none);
    let refused = queries(stored).series(&the_node(), asked, &Stop::default()).unwrap_err();
    assert!(crate::telemetry::chain(&refused).contains(&name), "{refused:?}");
    assert!(matches!(refused, PastError::Fault(_)));
}

#[test]
fn metrics_of_recent_rows_are_named_as_those_of_the_store() {
    for row in rows() {
        let who = row.life.who.clone();
        let mut found = BTreeSet::new();
        add_metrics_of(&row, &mut found);
        let (stored, _) = store(vec![row]);
        let selection = match who {
            crate::history::life::Who::Node(node) => Selection::Node(Some(node)),
            _ => continue,
        };
        let mut budget = Budget::default();
        let named = stored.metrics(&selection, Tick(0), Tick(u64::MAX / 2), &mut budget).unwrap();
        assert_eq!(found.into_iter().collect::<Vec<_>>(), named);
    }
}

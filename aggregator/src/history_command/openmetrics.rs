//! OpenMetrics text, version 1.0: all samples of one metric together, then the next metric.
//!
//! The lives of an entity are one series, as a counter that begins anew is one to those who read
//! this; of two lives with a value for one time, the one that began later counts. Pods of one name
//! are told apart by their uid. With other stored labels an entity is another series.

use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use super::{
    CommandError,
    export::{Count, Read},
    family::{Family, escaped, push_labels},
    filter::{Filter, Names, kind},
    numbers::{Aggregate, Numbers, numbers},
    stored_labels::ENTITY_LABELS,
};
use crate::history::{
    life::Who,
    point::Value,
    scan::{Scan, Wanted},
    series::{Row, What},
};

/// Writes all that is wanted.
pub(super) fn write(
    (snapshot, tier, days): Read<'_>,
    filter: &Filter,
    out: &mut dyn Write,
) -> Result<Count, CommandError> {
    let mut scan = snapshot.scan(tier, days)?;
    let mut metrics: BTreeSet<(String, bool)> = BTreeSet::new();
    scan.each_what(filter, |what| {
        if let What::Metric(quantity) = &**what {
            metrics.insert((quantity.metric.as_str().to_owned(), quantity.cumulative));
        }
    })?;
    let mut count = Count::default();
    for family in Family::all(&metrics, Aggregate::of(tier)) {
        let filter = filter.only(&family.metric, family.cumulative);
        let mut has_head = false;
        scan.restart();
        each_entity(&mut scan, &filter, |rows| {
            for series in numbers(tier, rows, filter.range())? {
                if series.aggregate != family.aggregate || series.points.is_empty() {
                    continue;
                }
                if !has_head {
                    out.write_all(family.head().as_bytes()).map_err(CommandError::stdout)?;
                    has_head = true;
                }
                samples(&family, &series, out, &mut count).map_err(CommandError::stdout)?;
            }
            Ok(())
        })?;
    }
    out.write_all(b"# EOF\n").map_err(CommandError::stdout)?;
    Ok(count)
}

/// Gives the rows of all lives of an entity together.
fn each_entity(
    scan: &mut Scan,
    filter: &Filter,
    mut each: impl FnMut(Vec<Row>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut rows: Vec<Row> = Vec::new();
    while let Some(parts) = scan.parts(filter)? {
        let next = parts.first().map(|row| &row.life.who);
        if rows.last().is_some_and(|row| Some(&row.life.who) != next) {
            each(std::mem::take(&mut rows))?;
        }
        rows.extend(parts);
    }
    if rows.is_empty() { Ok(()) } else { each(rows) }
}

fn samples(
    family: &Family,
    series: &Numbers,
    out: &mut dyn Write,
    count: &mut Count,
) -> io::Result<()> {
    let head = format!("{}{}", family.sample(), labels(series));
    for point in &series.points {
        let at = point.at.0;
        if family.is_counter() && point.value.as_f64().is_nan()
            || family.is_counter() && point.value.as_f64() < 0.0
        {
            count.left_out += 1;
            continue;
        }
        match point.value {
            Value::Integer(value) => writeln!(out, "{head} {value} {at}")?,
            Value::Float(value) if value.is_nan() => writeln!(out, "{head} NaN {at}")?,
            Value::Float(value) if value.is_infinite() => {
                writeln!(out, "{head} {}Inf {at}", if value < 0.0 { '-' } else { '+' })?;
            }
            Value::Float(value) => writeln!(out, "{head} {value} {at}")?,
        }
        count.numbers += 1;
    }
    Ok(())
}

fn labels(series: &Numbers) -> String {
    let who: &Who = &series.life.who;
    let uid = who.in_pod().map(|in_pod| in_pod.uid.to_string());
    let names = Names::of(who).with_uid(uid.as_deref());
    let Names { node, namespace, pod, pod_uid, container } = names;
    let of_entity = [Some(kind(who).word()), node, namespace, pod, pod_uid, container];
    let of_entity = ENTITY_LABELS.into_iter().zip(of_entity);
    let some = of_entity.filter_map(|(key, value)| Some((key, value?)));
    let mut pairs: Vec<(String, String)> =
        some.map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    push_labels(&series.labels, &mut pairs);
    push_labels(&series.stored, &mut pairs);
    let pairs: Vec<String> =
        pairs.iter().map(|(key, value)| format!("{key}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

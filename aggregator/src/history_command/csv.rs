//! One line a number, as RFC 4180 has it, with a head.

use std::io::{self, Write};

use super::{
    filter::{Names, kind},
    numbers::{Numbers, labels_text},
};
use crate::history::point::Value;

/// The head.
const HEAD: &str =
    "time,kind,node,namespace,pod,pod_uid,container,metric,labels,aggregate,value,start\n";

/// Writes the head.
pub(super) fn head(out: &mut dyn Write) -> io::Result<()> {
    out.write_all(HEAD.as_bytes())
}

/// Writes one line for each number.
pub(super) fn lines(numbers: &Numbers, out: &mut dyn Write) -> io::Result<()> {
    let who = &numbers.life.who;
    let uid = who.in_pod().map(|in_pod| in_pod.uid.to_string());
    let names = Names::of(who).with_uid(uid.as_deref());
    let labels = labels_text(&numbers.labels, &numbers.stored);
    let middle: Vec<String> = [
        Some(kind(who).word()),
        names.node,
        names.namespace,
        names.pod,
        names.pod_uid,
        names.container,
        Some(numbers.metric.as_str()),
        labels.as_deref(),
        Some(numbers.aggregate.word()),
    ]
    .into_iter()
    .map(|text| quoted(text.unwrap_or_default()))
    .collect();
    let middle = middle.join(",");
    let start = numbers.life.start.map(|start| start.0.to_string()).unwrap_or_default();
    for point in &numbers.points {
        let time = point.at.unix_ms().0;
        match point.value {
            Value::Integer(value) => writeln!(out, "{time},{middle},{value},{start}")?,
            Value::Float(value) => writeln!(out, "{time},{middle},{value},{start}")?,
        }
    }
    Ok(())
}

fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

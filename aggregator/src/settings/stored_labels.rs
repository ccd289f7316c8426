//! `--store-label`: which labels of Kubernetes history stores as labels of their own, and under
//! which names.

use std::collections::BTreeMap;

use tally_proto::limits::{LABEL_KEY_BYTES, LABELS_PER_COLUMN, NAME_BYTES};

use super::Faults;
use crate::history_command::{ENTITY_LABELS, label_name};

const FLAG: &str = "--store-label";

/// Labels that `metric-export` has. In Heapster one that was stored under such a name took the place of
/// what the export has there.
pub(crate) const EXPORT_LABELS: [&str; 11] = [
    "type",
    "nodename",
    "hostname",
    "host_id",
    "container_name",
    "container_base_image",
    "pod_name",
    "pod_id",
    "namespace_name",
    "namespace_id",
    "labels",
];

/// Bytes of a label's key in Kubernetes: a DNS name, a slash and a name.
const KEY_BYTES: usize = NAME_BYTES + 1 + LABEL_KEY_BYTES;

/// The name of each label that is stored. Of two names for one label the last counts.
pub(super) fn check(texts: &[String], faults: &mut Faults) -> BTreeMap<String, String> {
    let mut stored: BTreeMap<String, String> = BTreeMap::new();
    // A variable that is set to nothing says nothing.
    for text in texts.iter().filter(|text| !text.is_empty()) {
        match pair(text) {
            Ok((name, label)) => drop(stored.insert(label.to_owned(), name.to_owned())),
            Err(problem) => faults.collect(FLAG, Err(problem), ()),
        }
    }
    let mut taken: BTreeMap<String, &str> = BTreeMap::new();
    for (label, name) in &stored {
        faults.collect(FLAG, check_name(name, label), ());
        if let Some(other) = taken.insert(label_name(name), label) {
            let problem = format!(
                "{other:?} and {label:?} would both be stored as {:?}: give one of them another \
                 name with {FLAG} NEW=OLD",
                label_name(name)
            );
            faults.collect(FLAG, Err(problem), ());
        }
    }
    if LABELS_PER_COLUMN < stored.len() {
        let count = stored.len();
        let problem = format!("{count} labels, at most {LABELS_PER_COLUMN} can be stored");
        faults.collect(FLAG, Err(problem), ());
    }
    stored
}

/// Name and label of `[NEW=]OLD`.
fn pair(text: &str) -> Result<(&str, &str), String> {
    let (name, label) = text.split_once('=').unwrap_or((text, text));
    if name.is_empty() || label.is_empty() {
        return Err(format!(
            "{text:?} is no label, such as app or zone=topology.kubernetes.io/zone"
        ));
    }
    if KEY_BYTES < label.len() || label.contains('=') {
        return Err(format!("{label:?} is no label that Kubernetes can have"));
    }
    Ok((name, label))
}

/// Refuses what could not be told from something else.
fn check_name(name: &str, label: &str) -> Result<(), String> {
    let otherwise = format!("give {label:?} another name with {FLAG} NEW={label}");
    if LABEL_KEY_BYTES < name.len() {
        return Err(format!("{name:?} is longer than {LABEL_KEY_BYTES} bytes: {otherwise}"));
    }
    if ENTITY_LABELS.contains(&&*label_name(name)) {
        return Err(format!("exports of history have a label {}: {otherwise}", label_name(name)));
    }
    if EXPORT_LABELS.contains(&name) {
        return Err(format!("metric-export has a label {name}: {otherwise}"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(texts: &[&str]) -> (BTreeMap<String, String>, Vec<String>) {
        let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
        let mut faults = Faults::default();
        let stored = check(&texts, &mut faults);
        (stored, faults.0)
    }

    #[track_caller]
    fn check_stored(texts: &[&str], expected: &[(&str, &str)]) {
        let pair = |(label, name): &(&str, &str)| ((*label).to_owned(), (*name).to_owned());
        assert_eq!(checked(texts), (expected.iter().map(pair).collect(), Vec::new()));
    }

    #[track_caller]
    fn check_fault(texts: &[&str], expected: &str) {
        let (_, faults) = checked(texts);
        let expected = format!("{FLAG}: {expected}");
        assert!(faults.len() == 1 && faults[0].starts_with(&expected), "{faults:?}");
    }

    #[test]
    fn a_label_has_its_own_name_or_a_new_one_and_the_last_counts() {
        check_stored(&[], &[]);
        check_stored(&[""], &[]);
        check_stored(&["app", "zone=t.io/zone"], &[("app", "app"), ("t.io/zone", "zone")]);
        check_stored(&["app", "a=app", "b=app"], &[("app", "b")]);
        // What is overridden is no fault.
        check_stored(&["pod=app", "a=app"], &[("app", "a")]);
        check_stored(&["b=a", "a=b"], &[("a", "b"), ("b", "a")]);
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for text in ["=", "a=", "=a"] {
            check_fault(&[text], &format!("{text:?} is no label"));
        }
        check_fault(&["a=b=c"], "\"b=c\" is no label that Kubernetes can have");
        check_fault(&[&format!("a={}", "x".repeat(318))], "\"xxx");
        assert_eq!(checked(&["a=", "kind", "app"]).1.len(), 2, "all faults at once");
    }

    #[test]
    fn names_that_are_too_long_or_taken_are_refused_with_the_way_out() {
        let long = "x".repeat(64);
        check_fault(&[&long], &format!("{long:?} is longer than 63 bytes: give {long:?} another"));
        check_stored(&[&format!("x={long}")], &[(&long, "x")]);
        for name in ENTITY_LABELS {
            let way = format!("give {name:?} another name with --store-label NEW={name}");
            check_fault(&[name], &format!("exports of history have a label {name}: {way}"));
        }
        check_fault(&["pod-uid=uid"], "exports of history have a label pod_uid: give \"uid\"");
        for name in EXPORT_LABELS {
            let way = format!("give {name:?} another name with --store-label NEW={name}");
            check_fault(&[name], &format!("metric-export has a label {name}: {way}"));
        }
    }

    #[test]
    fn two_labels_have_two_names_and_there_are_no_more_than_a_series_may_have() {
        check_fault(&["x=a", "x=b"], "\"a\" and \"b\" would both be stored as \"x\": give one");
        check_fault(&["a.b", "a-b"], "\"a-b\" and \"a.b\" would both be stored as \"a_b\": give");
        let nine: Vec<String> = (0..9).map(|number| format!("l{number}")).collect();
        let nine: Vec<&str> = nine.iter().map(String::as_str).collect();
        check_fault(&nine, "9 labels, at most 8 can be stored");
        assert_eq!(checked(&nine[..8]).1, Vec::<String>::new());
    }
}

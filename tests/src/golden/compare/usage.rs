//! Two answers of the resource metrics API.

use serde_json::Value;

/// What differs: everything counts but the order of a list, which Heapster did not keep, and when
/// an object was made, which is now.
pub(super) fn differences(recorded: &Value, ours: &Value) -> Vec<String> {
    let (recorded, ours) = (items(recorded), items(ours));
    let lacking = recorded.iter().filter(|item| !ours.contains(item));
    let added = ours.iter().filter(|item| !recorded.contains(item));
    let lacking = lacking.map(|item| format!("- {item}"));
    lacking.chain(added.map(|item| format!("+ {item}"))).collect()
}

/// The items of a list, or the one object; without the time at which it was made.
fn items(answer: &Value) -> Vec<Value> {
    let items = answer.get("items").map(|items| items.as_array().cloned().unwrap_or_default());
    let mut items = items.unwrap_or_else(|| vec![answer.clone()]);
    for item in &mut items {
        if let Some(metadata) = item.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("creationTimestamp");
        }
    }
    items
}

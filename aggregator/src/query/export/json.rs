//! The export's labels and texts, as JSON.

use super::super::newest::Newest;
use crate::roster::Pod;

/// Writes `"key":"value",`.
pub(super) fn push_label(key: &str, value: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    push_text(value, out);
    out.push(b',');
}

/// As [`push_label`], if there is a value.
pub(super) fn push_optional_label(key: &str, value: Option<&str>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        push_label(key, value, out);
    }
}

/// The labels that all entities of a node have.
pub(super) fn push_node_labels(node: &str, newest: &Newest<'_>, out: &mut Vec<u8>) {
    let record = newest.schema.roster.node_record.as_ref();
    push_label("nodename", node, out);
    push_label("hostname", record.map_or(node, |record| &record.hostname), out);
    push_label("host_id", record.map_or("", |record| &record.host_id), out);
}

/// The labels that a pod and its containers have beside their node's.
pub(super) fn push_pod_labels(pod: &Pod, out: &mut Vec<u8>) {
    push_label("pod_name", &pod.key.name, out);
    push_label("pod_id", &pod.uid.to_string(), out);
    push_label("namespace_name", &pod.key.namespace, out);
    push_optional_label("namespace_id", pod.namespace_uid.as_deref(), out);
    push_optional_label("labels", pod.record.as_ref().map(|record| &*record.labels), out);
}

/// Writes a text in quotes, with what must be escaped escaped.
pub(super) fn push_text(text: &str, out: &mut Vec<u8>) {
    let special = |byte: u8| (byte == b'"') | (byte == b'\\') | (byte < 0x20);
    out.push(b'"');
    // All bytes are looked at, for that is faster than to stop at the first special one.
    if text.bytes().fold(false, |any, byte| any | special(byte)) {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    } else {
        out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_text_is_escaped() {
        for text in ["plain", "a\"b", "a\\b", "line\nbreak", "tab\t", "ünï", "\u{1}"] {
            let mut json = Vec::new();
            push_text(text, &mut json);
            assert_eq!(serde_json::from_slice::<String>(&json).unwrap(), text);
        }
    }
}

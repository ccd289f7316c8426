//! The export's labels and texts, as JSON.

use super::Newest;
use crate::roster::Pod;

/// Writes `},"labels":{…}}`.
pub(super) struct LabelWriter<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> LabelWriter<'a> {
    pub(super) fn begin(out: &'a mut Vec<u8>, container: &str, kind: &str) -> Self {
        out.extend_from_slice(b"},\"labels\":{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.push(b'"');
        let mut labels = Self { out };
        labels.label("container_name", container);
        labels
    }

    fn label(&mut self, key: &str, value: &str) {
        self.out.extend_from_slice(b",\"");
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        push_json_text(value, self.out);
    }

    pub(super) fn optional(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.label(key, value);
        }
    }

    pub(super) fn node(&mut self, newest: &Newest<'_>) {
        let record = newest.schema.roster.node_record.as_ref();
        self.label("nodename", newest.node);
        self.label("hostname", record.map_or(newest.node.as_str(), |record| &record.hostname));
        self.label("host_id", record.map_or("", |record| &record.host_id));
    }

    pub(super) fn pod(&mut self, newest: &Newest<'_>, pod: &Pod) {
        self.node(newest);
        self.label("pod_name", &pod.key.name);
        self.label("pod_id", &pod.uid.to_string());
        self.label("namespace_name", &pod.key.namespace);
        self.optional("namespace_id", pod.namespace_uid.as_deref());
        self.optional("labels", pod.record.as_ref().map(|record| &*record.labels));
    }

    pub(super) fn end(self) {
        self.out.extend_from_slice(b"}}");
    }
}

/// A text in quotes, with what must be escaped escaped.
pub(super) fn json_text(text: &str) -> String {
    let mut out = Vec::new();
    push_json_text(text, &mut out);
    String::from_utf8(out).unwrap_or_default()
}

fn push_json_text(text: &str, out: &mut Vec<u8>) {
    let plain = |byte: &u8| *byte != b'"' && *byte != b'\\' && 0x1f < *byte;
    out.push(b'"');
    if text.as_bytes().iter().all(plain) {
        out.extend_from_slice(text.as_bytes());
    } else {
        for byte in text.bytes() {
            match byte {
                b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
                0..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
                _ => out.push(byte),
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_end_a_text_is_escaped() {
        for text in ["plain", "a\"b", "a\\b", "line\nbreak", "tab\t", "ünï", "\u{1}"] {
            let json = json_text(text);
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text, "{json}");
        }
    }
}

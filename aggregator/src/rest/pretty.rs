//! Compact JSON, indented for people, piece by piece, so that a streamed answer stays one.
//!
//! It never looks at values, only at brackets, commas and colons outside of strings, so it needs
//! valid, compact JSON and keeps every number as it was written.

/// Where in the document the next byte is.
#[derive(Debug, Default)]
pub(super) struct Indenter {
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// A bracket was opened and nothing followed yet.
    opened: bool,
}

impl Indenter {
    /// Appends `piece` to `out`, indented by two spaces a level.
    pub(super) fn push(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if self.in_string {
                self.in_string = self.escaped || byte != b'"';
                self.escaped = !self.escaped && byte == b'\\';
                out.push(byte);
            } else {
                self.push_outside(byte, out);
            }
        }
    }

    fn push_outside(&mut self, byte: u8, out: &mut Vec<u8>) {
        if matches!(byte, b']' | b'}') {
            self.depth = self.depth.saturating_sub(1);
            if !std::mem::take(&mut self.opened) {
                self.break_line(out);
            }
            out.push(byte);
            return;
        }
        if std::mem::take(&mut self.opened) {
            self.break_line(out);
        }
        out.push(byte);
        match byte {
            b'[' | b'{' => {
                self.depth += 1;
                self.opened = true;
            }
            b',' => self.break_line(out),
            b':' => out.push(b' '),
            b'"' => self.in_string = true,
            _ => (),
        }
    }

    fn break_line(&self, out: &mut Vec<u8>) {
        out.push(b'\n');
        out.resize(out.len() + 2 * self.depth, b' ');
    }
}

/// The whole of `json`, indented.
pub(super) fn indented(json: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(json.len() * 2);
    Indenter::default().push(json, &mut out);
    out.push(b'\n');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            ".{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(".{0,4}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    #[test]
    fn it_looks_as_people_expect() {
        let json = json!({"a": [], "b": [1, {"c": "x,\"[y"}], "d": {}});
        let expected = format!("{}\n", serde_json::to_string_pretty(&json).unwrap());
        assert_eq!(String::from_utf8(indented(json.to_string().as_bytes())).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn it_is_what_serde_makes_wherever_the_pieces_end(json in any_json(), cut in any::<prop::sample::Index>()) {
            let compact = json.to_string();
            let (head, tail) = compact.as_bytes().split_at(cut.index(compact.len()));
            let mut out = Vec::new();
            let mut indenter = Indenter::default();
            indenter.push(head, &mut out);
            indenter.push(tail, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&json).unwrap());
        }
    }
}

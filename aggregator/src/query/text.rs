//! Names as JSON texts.

use std::ops::Deref;

use bytes::Bytes;

/// Writes a JSON text. Hardly any name has something to escape, so that is looked for in all of its
/// bytes at once.
pub(super) fn push(json: &mut Vec<u8>, text: &str) {
    let special = |found, byte: u8| found | (byte < b' ') | (byte == b'"') | (byte == b'\\');
    if text.bytes().fold(false, special) {
        // A text always has a JSON form, and a vector takes all of it.
        serde_json::to_writer(json, text).ok();
        return;
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
}

/// A JSON array of names.
pub(super) fn list(names: &[impl Deref<Target = str>]) -> Bytes {
    let mut json = vec![b'['];
    for (place, name) in names.iter().enumerate() {
        if place != 0 {
            json.push(b',');
        }
        push(&mut json, name);
    }
    json.push(b']');
    json.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_written_as_serde_json_writes_it(text in any::<String>(), plain in "[ -~é]{0,40}") {
            for text in [&text, &plain] {
                let mut json = vec![b'['];
                push(&mut json, text);
                prop_assert_eq!(&json[1..], serde_json::to_vec(text).unwrap());
            }
            let names = vec![text, plain];
            prop_assert_eq!(list(&names), serde_json::to_vec(&names).unwrap());
            prop_assert_eq!(list(&[""; 0]), "[]");
        }
    }
}

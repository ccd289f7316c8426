//! JSON written as YAML.

use serde_json::Value;

/// `json` as YAML; what YAML has no words for, which nothing here is, stays JSON, which YAML is too.
pub(super) fn document(json: &Value) -> Vec<u8> {
    match serde_saphyr::to_string(json) {
        Ok(yaml) => yaml.into_bytes(),
        Err(_) => format!("{json}\n").into_bytes(),
    }
}

/// Bytes of JSON as YAML.
pub(super) fn of_json(json: &[u8]) -> Vec<u8> {
    serde_json::from_slice(json).map_or_else(|_| json.to_vec(), |value| document(&value))
}

/// An item, in JSON, as the one of a list below a key.
pub(super) fn item(json: &[u8]) -> Vec<u8> {
    let value = serde_json::from_slice(json).unwrap_or_default();
    document(&Value::Array(vec![value]))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn it_is_what_people_expect() {
        let json = json!({"b": [{"name": "x", "n": 1}], "a": {}, "true": "true", "t": "2026-11-23T08:45:15Z"});
        let text = String::from_utf8(document(&json)).unwrap();
        let expected =
            "a: {}\nb:\n- \"n\": 1\n  name: x\nt: \"2026-11-23T08:45:15Z\"\n\"true\": \"true\"\n";
        assert_eq!(text, expected);
    }

    proptest! {
        #[test]
        fn labels_stay_what_they_are(labels in prop::collection::btree_map("[a-zA-Z0-9./_-]{1,9}", "[a-zA-Z0-9._-]{0,9}", 0..4)) {
            let json = json!({"labels": labels});
            let read: Value = serde_saphyr::from_str(std::str::from_utf8(&document(&json)).unwrap()).unwrap();
            prop_assert_eq!(read, json);
        }
    }
}

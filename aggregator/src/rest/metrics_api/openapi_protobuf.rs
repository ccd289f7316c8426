//! The description in OpenAPI 2 as protobuf, which `kubectl explain` up to 1.26 asks for alone:
//! gnostic's `openapi.v2.Document`, made of the JSON. Of the fields that the format has, those are
//! here that the JSON has.

use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Map, Value};

/// What a value of JSON is in protobuf.
enum Kind {
    Text,
    Flag,
    /// Each value of an array.
    Each(&'static Kind),
    /// A message, by its fields.
    Message(&'static [Field]),
    /// A message in which the value is the field of this number.
    Within(u32, &'static Kind),
    /// A message in which each field of an object is a field of this number: its name and its value.
    Named(u32, &'static Kind),
    /// A parameter in a path or query: a message with a field for each place.
    Parameter,
}

/// The name of a field in JSON, its number, and what its value is.
type Field = (&'static str, u32, &'static Kind);

/// The fields of JSON whose names begin so are in a field that all messages have.
const EXTENSION: &str = "x-";

static TEXT: Kind = Kind::Text;
static TEXTS: Kind = Kind::Each(&TEXT);

static DOCUMENT: [Field; 4] = [
    ("swagger", 1, &TEXT),
    ("info", 2, &Kind::Message(&[("title", 1, &TEXT), ("version", 2, &TEXT)])),
    ("paths", 8, &Kind::Named(2, &Kind::Message(&[("get", 2, &OPERATION)]))),
    ("definitions", 9, &Kind::Named(1, &SCHEMA)),
];

static OPERATION: Kind = Kind::Message(&[
    ("tags", 1, &TEXTS),
    ("description", 3, &TEXT),
    ("operationId", 5, &TEXT),
    ("produces", 6, &TEXTS),
    ("parameters", 8, &Kind::Each(&Kind::Within(1, &Kind::Within(2, &Kind::Parameter)))),
    ("responses", 9, &Kind::Named(1, &Kind::Within(1, &RESPONSE))),
    ("schemes", 10, &TEXTS),
    (EXTENSION, 13, &TEXT),
]);

static RESPONSE: Kind =
    Kind::Message(&[("description", 1, &TEXT), ("schema", 2, &Kind::Within(1, &SCHEMA))]);

static SCHEMA: Kind = Kind::Message(&[
    ("$ref", 1, &TEXT),
    ("format", 2, &TEXT),
    ("description", 4, &TEXT),
    ("required", 19, &TEXTS),
    ("additionalProperties", 21, &Kind::Within(1, &SCHEMA)),
    ("type", 22, &Kind::Within(1, &TEXT)),
    ("items", 23, &Kind::Within(1, &SCHEMA)),
    ("properties", 25, &Kind::Named(1, &SCHEMA)),
    (EXTENSION, 31, &TEXT),
]);

static IN_QUERY: [Field; 6] = [
    ("required", 1, &Kind::Flag),
    ("in", 2, &TEXT),
    ("description", 3, &TEXT),
    ("name", 4, &TEXT),
    ("type", 6, &TEXT),
    ("uniqueItems", 20, &Kind::Flag),
];

static IN_PATH: [Field; 6] = [
    ("required", 1, &Kind::Flag),
    ("in", 2, &TEXT),
    ("description", 3, &TEXT),
    ("name", 4, &TEXT),
    ("type", 5, &TEXT),
    ("uniqueItems", 19, &Kind::Flag),
];

/// A document in OpenAPI 2.
pub(super) fn document(json: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    push_fields(&DOCUMENT, json, &mut out);
    out
}

fn push_fields(fields: &[Field], value: &Value, out: &mut Vec<u8>) {
    let nothing = Map::new();
    let said = value.as_object().unwrap_or(&nothing);
    for (name, number, kind) in fields {
        if *name == EXTENSION {
            let extensions = said.iter().filter(|(name, _)| name.starts_with(EXTENSION));
            extensions.for_each(|(name, value)| push_extension(*number, name, value, out));
        } else if let Some(value) = said.get(*name) {
            push(*number, kind, value, out);
        }
    }
}

fn push(number: u32, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
    match kind {
        Kind::Text => push_text(number, value.as_str().unwrap_or_default(), out),
        Kind::Flag => push_flag(number, value.as_bool().unwrap_or_default(), out),
        Kind::Each(kind) => {
            let values = value.as_array().into_iter().flatten();
            values.for_each(|value| push(number, kind, value, out));
        }
        Kind::Message(fields) => nested(number, out, |out| push_fields(fields, value, out)),
        Kind::Within(inner, kind) => nested(number, out, |out| push(*inner, kind, value, out)),
        Kind::Named(inner, kind) => nested(number, out, |out| {
            for (name, value) in value.as_object().into_iter().flatten() {
                nested(*inner, out, |out| {
                    push_text(1, name, out);
                    push(2, kind, value, out);
                });
            }
        }),
        Kind::Parameter => nested(number, out, |out| {
            let is_in_query = value.get("in").is_some_and(|place| place == "query");
            let (number, fields) = if is_in_query { (3, &IN_QUERY) } else { (4, &IN_PATH) };
            nested(number, out, |out| push_fields(fields, value, out));
        }),
    }
}

/// A name, and the value as YAML, which JSON is.
fn push_extension(number: u32, name: &str, value: &Value, out: &mut Vec<u8>) {
    nested(number, out, |out| {
        push_text(1, name, out);
        nested(2, out, |out| push_text(2, &value.to_string(), out));
    });
}

fn push_text(number: u32, text: &str, out: &mut Vec<u8>) {
    push_bytes(number, text.as_bytes(), out);
}

fn push_flag(number: u32, flag: bool, out: &mut Vec<u8>) {
    encode_key(number, WireType::Varint, out);
    encode_varint(flag.into(), out);
}

/// Appends what `push` appends as a field.
fn nested(number: u32, out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    let mut message = Vec::new();
    push(&mut message);
    push_bytes(number, &message, out);
}

fn push_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    encode_key(number, WireType::LengthDelimited, out);
    encode_varint(u64::try_from(bytes.len()).unwrap_or(u64::MAX), out);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;

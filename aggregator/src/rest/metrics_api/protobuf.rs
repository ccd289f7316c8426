//! Objects in protobuf, as Kubernetes frames them: a magic number, an envelope that says the kind,
//! and in it the message (`k8s.io/metrics/pkg/apis/metrics/v1beta1/generated.proto`).
//!
//! An item is written by hand, for 150,000 of them are to be written in no time: a message's length
//! stands before it, so room for a likely one is left, and what was written moves where that is wrong.

use super::objects::{Amounts, Object, amounts};
use crate::query::usage::{Usage, selector};

const MAGIC: &[u8] = b"k8s\0";

/// Neither compressed nor of another type: fields 3 and 4 of the envelope, both empty.
const ENVELOPE_END: &[u8] = &[0x1a, 0, 0x22, 0];

/// An object's metadata, field 1; of a list nothing is in it.
const METADATA: u8 = 0x0a;
/// Items of a list, field 2.
const ITEMS: u8 = 0x12;

/// A list's metadata.
const LIST_METADATA: [u8; 2] = [METADATA, 0];

/// A message in its envelope.
pub(super) fn enveloped(api_version: &str, kind: &str, message: &[u8]) -> Vec<u8> {
    let mut out = head(api_version, kind, message.len());
    out.extend_from_slice(message);
    out.extend_from_slice(ENVELOPE_END);
    out
}

/// What comes before a message of `length` bytes.
fn head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    nested(0x0a, &mut out, |out| {
        push_bytes(0x0a, api_version.as_bytes(), out);
        push_bytes(0x12, kind.as_bytes(), out);
    });
    out.push(0x12);
    push_varint(length, &mut out);
    out
}

/// What comes before the items of a list, all of which have `length` bytes.
pub(super) fn list_head(api_version: &str, kind: &str, length: usize) -> Vec<u8> {
    let mut out = head(api_version, kind, LIST_METADATA.len() + length);
    out.extend_from_slice(&LIST_METADATA);
    out
}

/// What comes after the items of a list.
pub(super) fn list_end() -> Vec<u8> {
    ENVELOPE_END.to_vec()
}

/// Writes items.
#[derive(Debug)]
pub(super) struct Writer {
    created_s: i64,
}

impl Writer {
    /// Items that are made now.
    pub(super) fn new(created_s: i64) -> Self {
        Self { created_s }
    }

    /// Appends an item of a list.
    pub(super) fn push_item(&self, object: &Object<'_>, out: &mut Vec<u8>) {
        nested_in::<2>(ITEMS, out, |out| self.push(object, out));
    }

    /// Appends the object's own message.
    pub(super) fn push(&self, object: &Object<'_>, out: &mut Vec<u8>) {
        nested(METADATA, out, |out| self.push_metadata(object, out));
        push_time(0x12, object.interval.end.0.div_euclid(1000), out);
        let length_ns = object.interval.length_us.saturating_mul(1000);
        nested(0x1a, out, |out| push_number(0x08, length_ns, out));
        match object.amounts {
            Amounts::Whole(usage) => push_usage(0x22, usage, out),
            of_pod => {
                for (name, usage) in of_pod.containers() {
                    nested(0x22, out, |out| {
                        push_bytes(0x0a, name.as_bytes(), out);
                        push_usage(0x12, usage, out);
                    });
                }
            }
        }
    }

    fn push_metadata(&self, object: &Object<'_>, out: &mut Vec<u8>) {
        push_bytes(0x0a, object.name.as_bytes(), out);
        if let Some(namespace) = object.namespace {
            push_bytes(0x1a, namespace.as_bytes(), out);
        }
        push_time(0x42, self.created_s, out);
        for (key, value) in selector::pairs(object.labels) {
            nested(0x5a, out, |out| {
                push_bytes(0x0a, key.as_bytes(), out);
                push_bytes(0x12, value.as_bytes(), out);
            });
        }
    }
}

/// A map of names to quantities, which are texts.
fn push_usage(tag: u8, usage: &Usage, out: &mut Vec<u8>) {
    for (resource, amount) in amounts(usage) {
        nested(tag, out, |out| {
            push_bytes(0x0a, resource.name().as_bytes(), out);
            nested(0x12, out, |out| nested(0x0a, out, |out| resource.push(amount, out)));
        });
    }
}

/// Seconds since the epoch. Parts of one are never said, as JSON has none.
fn push_time(tag: u8, seconds: i64, out: &mut Vec<u8>) {
    // A negative number takes ten bytes.
    nested(tag, out, |out| push_number(0x08, seconds.cast_unsigned(), out));
}

fn push_number(tag: u8, number: u64, out: &mut Vec<u8>) {
    out.push(tag);
    prost::encoding::encode_varint(number, out);
}

fn push_bytes(tag: u8, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(tag);
    push_varint(bytes.len(), out);
    out.extend_from_slice(bytes);
}

fn push_varint(number: usize, out: &mut Vec<u8>) {
    prost::encoding::encode_varint(u64::try_from(number).unwrap_or(u64::MAX), out);
}

/// Appends what `push` appends as a field, with its length before it; most are short.
fn nested(tag: u8, out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    nested_in::<1>(tag, out, push);
}

/// The same of a field whose length likely has so many bytes itself.
fn nested_in<const LIKELY: usize>(tag: u8, out: &mut Vec<u8>, push: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    let room = out.len();
    out.extend_from_slice(&[0; LIKELY]);
    let begin = out.len();
    push(out);
    let end = out.len();
    let length = u64::try_from(end - begin).unwrap_or(u64::MAX);
    let needed = prost::encoding::encoded_len_varint(length);
    if LIKELY < needed {
        out.resize(end + needed - LIKELY, 0);
    }
    if LIKELY != needed {
        out.copy_within(begin..end, room + needed);
        out.truncate(room + needed + end - begin);
    }
    if let Some(mut room) = out.get_mut(room..room + needed) {
        prost::encoding::encode_varint(length, &mut room);
    }
}

#[cfg(test)]
pub(super) mod tests;

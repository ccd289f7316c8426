//! A list, or one object, in the form that was asked for, in pieces that are made as the client
//! takes them: what is in memory of a long list is its numbers, in less than half of its bytes.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::pretty::{self, Indenter},
    json::{self, Dialect},
    media::{Encoding, Form, Shape},
    objects::{Object, Objects},
    protobuf,
    table::{Include, Table},
    yaml,
};

/// Items of a piece: some 200 KB, made in half a millisecond. What has no more is one answer with
/// its length.
const ITEMS_OF_A_PIECE: usize = 500;

/// YAML takes twenty times as long to make.
const YAML_ITEMS_OF_A_PIECE: usize = 25;

/// What is written and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub form: Form,
    pub dialect: Dialect,
    pub include: Include,
    pub pretty: bool,
    /// Version and kind of one object.
    pub of: (&'static str, &'static str),
    /// When the objects are made.
    pub created_s: i64,
}

/// Objects that are written piece by piece.
#[derive(Debug)]
pub(super) struct List {
    objects: Objects,
    writer: Writer,
    /// What comes before the items, until it is said.
    head: Vec<u8>,
    /// What comes after them; `None` when all is said.
    end: Option<Vec<u8>>,
    next: usize,
    indenter: Option<Indenter>,
    /// What they take, until they are sent.
    room: Option<OwnedSemaphorePermit>,
}

/// Writes items, each with what stands before it.
#[derive(Debug)]
enum Writer {
    Json(json::Writer),
    Yaml(json::Writer),
    Protobuf(protobuf::Writer),
    Table(Table, json::Writer),
}

impl List {
    /// A list of `objects`; with protobuf, whose length comes first, it takes as long as all pieces.
    pub(super) fn new(objects: Objects, asked: Asked) -> Self {
        let json_writer = || json::Writer::new(asked.dialect, asked.created_s);
        let (api_version, kind) = asked.of;
        let list_kind = format!("{kind}List");
        let (writer, head, end) = match (asked.form.shape, asked.form.encoding) {
            (Shape::Table(version), _) => {
                let table = Table::new(version, asked.include, asked.of, &objects);
                let head = table.head();
                (Writer::Table(table, json_writer()), head, b"]}".to_vec())
            }
            (_, Encoding::Json) if asked.dialect == Dialect::Heapster => {
                // Of nothing it had nothing.
                let (head, end) = match objects.len() {
                    0 => (&b"{\"metadata\":{},\"items\":null"[..], &b"}"[..]),
                    _ => (&b"{\"metadata\":{},\"items\":["[..], &b"]}"[..]),
                };
                (Writer::Json(json_writer()), head.to_vec(), end.to_vec())
            }
            (_, Encoding::Json) => {
                let head = json::list_head(api_version, &list_kind);
                (Writer::Json(json_writer()), head, b"]}".to_vec())
            }
            (_, Encoding::Yaml) => {
                let items = if objects.len() == 0 { "items: []\n" } else { "items:\n" };
                let head = format!("apiVersion: {api_version}\n{items}");
                let end = format!("kind: {list_kind}\nmetadata: {{}}\n");
                (Writer::Yaml(json_writer()), head.into_bytes(), end.into_bytes())
            }
            (_, Encoding::Protobuf) => {
                let mut writer = protobuf::Writer::new(asked.created_s);
                let length = items_length(&objects, &mut writer);
                let head = protobuf::list_head(api_version, &list_kind, length);
                (Writer::Protobuf(writer), head, protobuf::list_end())
            }
        };
        let is_json = asked.form.encoding == Encoding::Json;
        let indenter = (asked.pretty && is_json).then(Indenter::default);
        Self { objects, writer, head, end: Some(end), next: 0, indenter, room: None }
    }

    /// As the body of an answer, which keeps `room` until its last piece is sent.
    pub(super) fn body(mut self, room: OwnedSemaphorePermit) -> Body {
        if self.objects.len() <= self.items_of_a_piece() {
            return self.piece().map_or_else(Body::empty, Body::from);
        }
        self.room = Some(room);
        Body::from_stream(stream::iter(self.map(io::Result::Ok)))
    }

    fn items_of_a_piece(&self) -> usize {
        match &self.writer {
            Writer::Yaml(_) => YAML_ITEMS_OF_A_PIECE,
            _ => ITEMS_OF_A_PIECE,
        }
    }

    /// The next piece; `None` after the last.
    fn piece(&mut self) -> Option<Vec<u8>> {
        // Nothing is left to say after the end.
        self.end.as_ref()?;
        let mut piece = std::mem::take(&mut self.head);
        for index in self.next..self.next + self.items_of_a_piece() {
            match self.objects.get(index) {
                Some(object) => self.writer.push(&object, index == 0, &mut piece),
                None => break,
            }
        }
        self.next += self.items_of_a_piece();
        if self.objects.len() <= self.next
            && let Some(end) = self.end.take()
        {
            piece.extend_from_slice(&end);
        }
        let Some(indenter) = &mut self.indenter else { return Some(piece) };
        let mut indented = Vec::with_capacity(piece.len() * 2);
        indenter.push(&piece, &mut indented);
        if self.end.is_none() {
            indented.push(b'\n');
        }
        Some(indented)
    }
}

impl Iterator for List {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.piece().map(Bytes::from)
    }
}

impl Writer {
    fn push(&mut self, object: &Object<'_>, is_first: bool, out: &mut Vec<u8>) {
        let comma: &[u8] = if is_first { b"" } else { b"," };
        match self {
            Self::Json(writer) => {
                out.extend_from_slice(comma);
                writer.push_item(object, out);
            }
            Self::Yaml(writer) => {
                let mut json = Vec::new();
                writer.push_item(object, &mut json);
                out.extend_from_slice(&yaml::item(&json));
            }
            Self::Protobuf(writer) => writer.push_item(object, out),
            Self::Table(table, writer) => {
                out.extend_from_slice(comma);
                table.push_row(object, writer, out);
            }
        }
    }
}

/// Bytes of all items in protobuf: they are written, and only counted.
fn items_length(objects: &Objects, writer: &mut protobuf::Writer) -> usize {
    let mut item = Vec::new();
    let lengths = objects.iter().map(|object| {
        item.clear();
        writer.push_item(&object, &mut item);
        item.len()
    });
    lengths.sum()
}

/// One object as a whole.
pub(super) fn one(objects: Objects, asked: Asked) -> Vec<u8> {
    let Some(object) = objects.get(0) else { return Vec::new() };
    let mut writer = json::Writer::new(asked.dialect, asked.created_s);
    let mut out = Vec::new();
    match (asked.form.shape, asked.form.encoding) {
        (Shape::Table(_), _) => return List::new(objects, asked).piece().unwrap_or_default(),
        (_, Encoding::Protobuf) => {
            protobuf::Writer::new(asked.created_s).push(&object, &mut out);
            let (api_version, kind) = asked.of;
            return protobuf::enveloped(api_version, kind, &out);
        }
        _ if asked.dialect == Dialect::Heapster => writer.push_item(&object, &mut out),
        _ => writer.push(asked.of, &object, &mut out),
    }
    match asked.form.encoding {
        Encoding::Yaml => yaml::of_json(&out),
        _ if asked.pretty => pretty::indented(&out),
        _ => out,
    }
}

#[cfg(test)]
mod tests;

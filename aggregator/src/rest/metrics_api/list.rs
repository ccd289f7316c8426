//! A list, or one object, in the form that was asked for, in pieces that are made as the client takes
//! them. What pods use is written as it is found, in the forms that are asked for most, and that is in
//! memory; in other forms the numbers are.

use std::io;

use axum::body::Body;
use bytes::Bytes;
use futures_util::stream;
use tally_proto::tick::UnixMs;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    super::{
        pieces::Pieces,
        pretty::{self, Indenter},
    },
    json::{self, Dialect},
    media::{Encoding, Form, Shape},
    objects::{Object, Objects},
    protobuf,
    table::{Include, Table},
    yaml,
};
use crate::query::{Queries, usage::PodsAsked};

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

/// A list that is sent piece by piece.
#[derive(Debug)]
pub(super) enum List {
    /// What is in them is written, and takes so many bytes of memory.
    Made(Pieces, usize),
    /// It is written as they are taken.
    Unmade(Box<Unmade>),
}

/// Objects that are written piece by piece.
#[derive(Debug)]
pub(super) struct Unmade {
    objects: Objects,
    writer: Writer,
    /// What comes before the items, until it is said.
    head: Vec<u8>,
    /// What comes after them; `None` when all is said.
    end: Option<Vec<u8>>,
    next: usize,
    indenter: Option<Indenter>,
    /// Bytes of the longest piece so far.
    longest: usize,
    /// What the objects take, until the last is sent.
    room: Option<OwnedSemaphorePermit>,
}

/// Writes items, each with what stands before it.
#[derive(Debug)]
enum Writer {
    Json(json::Writer),
    Yaml(json::Writer),
    Table(Table, json::Writer),
}

impl List {
    /// A list of `objects`; with protobuf it takes as long as all pieces.
    pub(super) fn new(objects: Objects, asked: Asked) -> Self {
        match asked.form.encoding {
            Encoding::Protobuf => {
                let items = protobuf_items(&objects, asked);
                let memory = items.capacity();
                Self::made(protobuf_list(items.len(), std::iter::once(items), asked), memory)
            }
            _ => Self::Unmade(Box::new(Unmade::new(objects, asked))),
        }
    }

    /// A list of what pods use. In the forms that autoscalers and `kubectl top` ask for it is written as
    /// it is found.
    pub(super) fn of_pods(
        queries: &Queries,
        pods: PodsAsked<'_>,
        now: UnixMs,
        asked: Asked,
    ) -> Self {
        match (asked.form.encoding, asked.form.shape) {
            (Encoding::Protobuf, _) => {
                let items = queries.write_pod_usage(pods, now, || {
                    let writer = protobuf::Writer::new(asked.created_s);
                    move |seen, out| writer.push_item(&seen.into(), out)
                });
                let (bytes, memory) = (items.bytes(), items.memory());
                Self::made(protobuf_list(bytes, items.pieces(ITEMS_OF_A_PIECE), asked), memory)
            }
            (Encoding::Json, Shape::Itself) if !asked.pretty => {
                let items = queries.write_pod_usage(pods, now, || {
                    let mut writer = json::Writer::new(asked.dialect, asked.created_s);
                    move |seen, out| {
                        out.push(b',');
                        writer.push_item(&seen.into(), out);
                    }
                });
                let (bytes, memory) = (items.bytes(), items.memory());
                Self::made(json_list(bytes, items.pieces(ITEMS_OF_A_PIECE), asked), memory)
            }
            _ => Self::new(Objects::Pods(queries.pod_usage(pods, now)), asked),
        }
    }

    fn made(
        (length, pieces): (usize, impl Iterator<Item = Bytes> + Send + 'static),
        memory: usize,
    ) -> Self {
        Self::Made(Pieces::as_taken(length, pieces), memory)
    }

    /// About how many bytes of memory it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Made(_, memory) => *memory,
            Self::Unmade(unmade) => unmade.objects.bytes(),
        }
    }

    /// As the body of an answer, which keeps `room` until its last piece is sent.
    pub(super) fn body(self, room: OwnedSemaphorePermit) -> Body {
        match self {
            Self::Made(pieces, _) => Body::new(pieces.in_room(room)),
            Self::Unmade(mut unmade) if unmade.objects.len() <= unmade.items_of_a_piece() => {
                unmade.piece().map_or_else(Body::empty, Body::from)
            }
            Self::Unmade(mut unmade) => {
                unmade.room = Some(room);
                Body::from_stream(stream::iter(unmade.map(io::Result::Ok)))
            }
        }
    }
}

impl Iterator for Unmade {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        self.piece().map(Bytes::from)
    }
}

/// All items in protobuf.
fn protobuf_items(objects: &Objects, asked: Asked) -> Vec<u8> {
    let (writer, mut items) = (protobuf::Writer::new(asked.created_s), Vec::new());
    objects.iter().for_each(|object| writer.push_item(&object, &mut items));
    items
}

/// A list in protobuf, of items that are written already, of so many bytes together: its length and
/// its pieces.
fn protobuf_list(
    bytes: usize,
    items: impl Iterator<Item = Vec<u8>>,
    asked: Asked,
) -> (usize, impl Iterator<Item = Bytes>) {
    let (api_version, kind) = asked.of;
    let head = protobuf::list_head(api_version, &format!("{kind}List"), bytes);
    let end = protobuf::list_end();
    let length = head.len() + bytes + end.len();
    (length, std::iter::once(head).chain(items).chain([end]).map(Bytes::from))
}

/// The same in JSON; each of the items has a comma before it.
fn json_list(
    bytes: usize,
    mut items: impl Iterator<Item = Vec<u8>>,
    asked: Asked,
) -> (usize, impl Iterator<Item = Bytes>) {
    let (head, end) = json_frame(asked, bytes == 0);
    // Before the first of all there is none.
    let first = items.next().map(|first| Bytes::from(first).slice(1..));
    let length = head.len() + bytes.saturating_sub(1) + end.len();
    let all = std::iter::once(Bytes::from(head)).chain(first);
    (length, all.chain(items.map(Bytes::from)).chain([end.into()]))
}

/// What comes before the items of a list in JSON, and after them.
fn json_frame(asked: Asked, is_empty: bool) -> (Vec<u8>, Vec<u8>) {
    let (api_version, kind) = asked.of;
    match (asked.dialect, is_empty) {
        // Of nothing it had nothing.
        (Dialect::Heapster, true) => (b"{\"metadata\":{},\"items\":null".to_vec(), b"}".to_vec()),
        (Dialect::Heapster, false) => (b"{\"metadata\":{},\"items\":[".to_vec(), b"]}".to_vec()),
        (Dialect::Kubernetes, _) => {
            (json::list_head(api_version, &format!("{kind}List")), b"]}".to_vec())
        }
    }
}

impl Unmade {
    fn new(objects: Objects, asked: Asked) -> Self {
        let json_writer = || json::Writer::new(asked.dialect, asked.created_s);
        let (api_version, kind) = asked.of;
        let list_kind = format!("{kind}List");
        let (writer, head, end) = match (asked.form.shape, asked.form.encoding) {
            (Shape::Table(version), _) => {
                let table = Table::new(version, asked.include, asked.of, &objects);
                let head = table.head();
                (Writer::Table(table, json_writer()), head, b"]}".to_vec())
            }
            (_, Encoding::Yaml) => {
                let items = if objects.len() == 0 { "items: []\n" } else { "items:\n" };
                let head = format!("apiVersion: {api_version}\n{items}");
                let end = format!("kind: {list_kind}\nmetadata: {{}}\n");
                (Writer::Yaml(json_writer()), head.into_bytes(), end.into_bytes())
            }
            _ => {
                let (head, end) = json_frame(asked, objects.len() == 0);
                (Writer::Json(json_writer()), head, end)
            }
        };
        let is_json = asked.form.encoding == Encoding::Json;
        let indenter = (asked.pretty && is_json).then(Indenter::default);
        Self { objects, writer, head, end: Some(end), next: 0, indenter, longest: 0, room: None }
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
        let mut piece = Vec::with_capacity(self.longest);
        piece.append(&mut self.head);
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
        self.longest = self.longest.max(piece.len());
        let Some(indenter) = &mut self.indenter else { return Some(piece) };
        let mut indented = Vec::with_capacity(piece.len() * 2);
        indenter.push(&piece, &mut indented);
        if self.end.is_none() {
            indented.push(b'\n');
        }
        Some(indented)
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
            Self::Table(table, writer) => {
                out.extend_from_slice(comma);
                table.push_row(object, writer, out);
            }
        }
    }
}

/// One object as a whole.
pub(super) fn one(objects: Objects, asked: Asked) -> Vec<u8> {
    let Some(object) = objects.get(0) else { return Vec::new() };
    let mut writer = json::Writer::new(asked.dialect, asked.created_s);
    let mut out = Vec::new();
    match (asked.form.shape, asked.form.encoding) {
        (Shape::Table(_), _) => return Unmade::new(objects, asked).piece().unwrap_or_default(),
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

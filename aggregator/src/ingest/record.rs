//! What one stream says, into the journal.
//!
//! In each segment a stream begins with who it is, what its numbers mean, and the values that its
//! next frame goes on from; then come its frames as they came.

use std::sync::Arc;

use tally_proto::{
    columns::{Columns, pack_key},
    message::{Declarations, Hello, PackedFrame, Sequence},
};

use crate::{
    journal::{
        Addition, Journal, Position, StreamMark,
        entry::{
            LONGEST_BODY, Standing, StreamNumber, push_base, push_begin, push_frame, push_known,
            push_said,
        },
        known,
    },
    model::{
        Applied,
        writer::{Before, NodeWriter},
    },
    schema::Schema,
};

/// One stream's part of the journal.
#[derive(Debug)]
pub(super) struct Record {
    journal: Arc<Journal>,
    hello: Hello,
    mark: StreamMark,
    /// What was said last of what the API server knows.
    known: Vec<u8>,
    /// A frame was not taken, for want of room: its sender must say it again.
    is_missing: bool,
}

impl Record {
    /// A stream that said nothing yet.
    pub(super) fn new(journal: Arc<Journal>, hello: Hello) -> Self {
        let mark = StreamMark::default();
        Self { journal, hello, mark, known: Vec::new(), is_missing: false }
    }

    /// Whether frames were left out.
    pub(super) fn is_missing(&self) -> bool {
        self.is_missing
    }

    /// Whether frames were left out and there is room again.
    pub(super) fn must_resend(&self) -> bool {
        self.is_missing && self.journal.has_room()
    }

    /// Takes declarations. They are said with the next frame too, if that begins a segment.
    pub(super) fn declare(&mut self, said: &Declarations) {
        self.journal.append_if_begun(&self.mark, |stream, out| push_said(stream, said, out));
    }

    /// Takes a frame that was just applied. `None` when there is no room for it.
    pub(super) fn frame(
        &mut self,
        writer: &mut NodeWriter,
        frame: &PackedFrame,
        applied: Applied,
    ) -> Option<Position> {
        if self.is_missing || !self.journal.has_room() {
            self.is_missing = true;
            // What was recorded before is no step back for what is recorded next.
            if writer.recorded(self.hello.run) < frame.sequence {
                writer.hold(frame);
            }
            return None;
        }
        let standing = if frame.sequence <= writer.recorded(self.hello.run) {
            Standing::Step
        } else if writer.is_newest(frame.tick) {
            Standing::New
        } else {
            Standing::Doubtful
        };
        let news = self.news(writer, applied.new_schema);
        let addition = Addition { tick: frame.tick, is_late: applied.too_old };
        let addition = Some(addition).filter(|_| standing != Standing::Step);
        let (hello, known) = (&self.hello, &self.known);
        let position = self.journal.append(
            &mut self.mark,
            addition,
            |stream, out| {
                let before = writer.before(frame);
                let schema = writer.schema();
                push_beginning(stream, hello, before.as_ref(), schema, out);
                if !known.is_empty() {
                    push_known(stream, known, out);
                }
            },
            |stream, out| {
                // A stream that begins has said it just now.
                if let Some(known) = &news {
                    push_known(stream, known, out);
                }
                push_frame(stream, frame, standing, out);
            },
        );
        if standing != Standing::Step {
            writer.record(self.hello.run, frame);
        }
        Some(position)
    }

    /// What the API server knows now, where it is not what was said last.
    fn news(&mut self, writer: &NodeWriter, new_schema: bool) -> Option<Vec<u8>> {
        let schema = writer.schema().filter(|_| new_schema)?;
        let mut known = known::encode(&schema.roster);
        if LONGEST_BODY < known.len() {
            tracing::warn!(
                node = %self.hello.node,
                bytes = known.len(),
                most = LONGEST_BODY,
                "what the API server knows of the node's pods is too long to record: in history \
                 they have no requests and limits from here on"
            );
            known.clear();
        }
        if known == self.known {
            return None;
        }
        self.known.clone_from(&known);
        Some(known)
    }
}

fn push_beginning(
    stream: StreamNumber,
    hello: &Hello,
    before: Option<&Before>,
    now: Option<&Arc<Schema>>,
    out: &mut Vec<u8>,
) {
    push_begin(stream, hello, out);
    if let Some(before) = before {
        push_said(stream, &before.schema.declarations.all(), out);
        let mut key = Vec::new();
        pack_key(&Columns::from(&*before.columns), &mut key);
        push_base(stream, (Sequence(0), before.tick), &key, out);
    }
    let Some(now) = now else { return };
    match before {
        Some(before) if before.same_stream => {
            if !before.schema.declarations.is_same(&now.declarations) {
                push_said(stream, &before.schema.declarations.change_to(&now.declarations), out);
            }
        }
        Some(_) => {
            // Numbers of another stream: what follows has its own.
            push_begin(stream, hello, out);
            push_said(stream, &now.declarations.all(), out);
        }
        None => push_said(stream, &now.declarations.all(), out),
    }
}

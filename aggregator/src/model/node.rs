//! One node's part of the live model: its frames, as they came over the wire.
//!
//! Frames are kept packed, about a byte a sample, in chunks that begin with a key frame, so that
//! any chunk can be read by itself. A frame never changes once it is stored. Readers take the
//! node's view, an immutable list of chunks, and hold it for as long as they like; the stream
//! that writes publishes a new view with each frame and waits for nobody.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use tally_proto::{
    columns::{Columns, delta_at, pack_key},
    name::NodeName,
    tick::Tick,
};

use super::writer::NodeWriter;
use crate::schema::Schema;

/// Frames in a chunk. A key frame takes about three times the bytes of a difference, so longer
/// chunks have fewer of them; shorter ones leave the window sooner and are read faster. Eight and
/// sixteen take the same memory at 60 ticks, and eight takes less below that.
const CHUNK_FRAMES: usize = 8;

/// One frame, packed.
#[derive(Debug)]
pub struct StoredFrame {
    /// Its tick.
    pub tick: Tick,
    /// Its columns: a key frame at the beginning of a chunk, else differences.
    pub bytes: Box<[u8]>,
}

/// Frames of one schema in the order of their arrival, the first of them a key frame.
#[derive(Clone, Debug)]
pub struct Chunk {
    /// What their numbers mean.
    pub schema: Arc<Schema>,
    /// The frames.
    pub frames: Vec<Arc<StoredFrame>>,
}

impl Chunk {
    /// Every frame's value of one cell, in the order of the frames: the column at `index`, the
    /// entity at `position`.
    pub fn values(&self, index: usize, position: usize) -> impl Iterator<Item = i64> {
        let columns = self.schema.layout.columns.len();
        let rows = self.schema.layout.rows(index).len();
        self.frames.iter().scan(0i64, move |value, frame| {
            // Stored frames were unpacked once, so their bytes are well formed.
            let delta = delta_at(&frame.bytes, columns, index, rows, position)?;
            *value = value.wrapping_add(delta);
            Some(*value)
        })
    }
}

/// What is known of a node at one moment.
#[derive(Debug, Default)]
pub struct NodeView {
    /// Chunks that are full, oldest first.
    pub sealed: Arc<VecDeque<Arc<Chunk>>>,
    /// The chunk that frames are added to.
    pub open: Option<Chunk>,
}

impl NodeView {
    /// All chunks in the order of arrival.
    pub fn chunks(&self) -> impl DoubleEndedIterator<Item = &Chunk> {
        self.sealed.iter().map(|chunk| &**chunk).chain(&self.open)
    }

    /// What the newest frame's numbers mean.
    pub fn schema(&self) -> Option<&Arc<Schema>> {
        self.open.as_ref().map(|chunk| &chunk.schema)
    }
}

/// A node's place in the model.
#[derive(Debug)]
pub struct NodeSlot {
    /// The node.
    pub name: NodeName,
    view: ArcSwap<NodeView>,
    newest: AtomicU64,
    /// Held by the one stream that speaks for the node, for one frame at a time; readers never
    /// take it.
    writer: Mutex<NodeWriter>,
}

impl NodeSlot {
    /// A node that nothing is known of.
    pub fn new(name: NodeName, writer: NodeWriter) -> Self {
        Self {
            name,
            view: ArcSwap::default(),
            newest: AtomicU64::new(0),
            writer: Mutex::new(writer),
        }
    }

    /// What is known now.
    pub fn view(&self) -> Arc<NodeView> {
        self.view.load_full()
    }

    /// The newest tick that it delivered; tick 0 before the first.
    pub fn newest(&self) -> Tick {
        Tick(self.newest.load(Ordering::Relaxed))
    }

    /// Entities in its newest frame.
    pub fn entities(&self) -> usize {
        let view = self.view.load();
        view.schema().map_or(0, |schema| {
            schema.read_offset.map_or(0, |index| schema.layout.rows(index).len())
        })
    }

    /// For the stream that speaks for the node.
    pub fn writer(&self) -> MutexGuard<'_, NodeWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a frame and lets go of chunks that end before `oldest`. `packed` is the frame as
    /// differences from the chunk's last; without it, or at the end of a chunk, the frame begins
    /// a chunk as a key frame.
    pub fn store(
        &self,
        schema: &Arc<Schema>,
        tick: Tick,
        now: &Columns,
        packed: Option<&[u8]>,
        oldest: Tick,
    ) {
        let view = self.view.load();
        let frame = |bytes: Box<[u8]>| Arc::new(StoredFrame { tick, bytes });
        let next = match (&view.open, packed) {
            (Some(open), Some(bytes)) if open.frames.len() < CHUNK_FRAMES => {
                let mut frames = Vec::with_capacity(open.frames.len() + 1);
                frames.extend_from_slice(&open.frames);
                frames.push(frame(bytes.into()));
                let open = Chunk { schema: Arc::clone(schema), frames };
                NodeView { sealed: Arc::clone(&view.sealed), open: Some(open) }
            }
            (before, _) => {
                let mut key = Vec::new();
                pack_key(now, &mut key);
                let open = Chunk { schema: Arc::clone(schema), frames: vec![frame(key.into())] };
                let in_window =
                    |chunk: &Chunk| chunk.frames.iter().any(|frame| oldest <= frame.tick);
                let sealed = view.sealed.iter().filter(|chunk| in_window(chunk)).cloned();
                let sealed = sealed.chain(before.clone().map(Arc::new)).collect();
                NodeView { sealed: Arc::new(sealed), open: Some(open) }
            }
        };
        self.view.store(Arc::new(next));
        self.newest.fetch_max(tick.0, Ordering::Relaxed);
    }
}

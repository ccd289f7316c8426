//! One node's place in the live model.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use arc_swap::ArcSwapOption;
use tally_proto::{name::NodeName, tick::Tick};

use super::{past::View, writer::NodeWriter};
use crate::schema::Schema;

/// A node's place in the model.
#[derive(Debug)]
pub struct NodeSlot {
    /// The node.
    pub name: NodeName,
    newest: AtomicU64,
    /// Whether what is known of it or of its pods changed since its last frame.
    touched: AtomicBool,
    schema: ArcSwapOption<Schema>,
    /// Held by the one stream that speaks for the node, for one frame at a time, and by readers to
    /// copy a few pointers.
    writer: Mutex<NodeWriter>,
}

impl NodeSlot {
    /// A node that nothing is known of.
    pub fn new(name: NodeName, writer: NodeWriter) -> Self {
        Self {
            name,
            newest: AtomicU64::new(0),
            touched: AtomicBool::new(false),
            schema: ArcSwapOption::default(),
            writer: Mutex::new(writer),
        }
    }

    /// Its frames, as they are now.
    pub fn view(&self) -> View {
        self.writer().view()
    }

    /// What the numbers of its newest frame mean; `None` before the first.
    pub fn schema(&self) -> Option<Arc<Schema>> {
        self.schema.load_full()
    }

    /// The newest tick that it delivered; tick 0 before the first.
    pub fn newest(&self) -> Tick {
        Tick(self.newest.load(Ordering::Relaxed))
    }

    /// Says that what is known of it or of its pods is other than before.
    pub fn touch(&self) {
        self.touched.store(true, Ordering::Release);
    }

    /// Whether that was said since this was last asked. What is read of the inventory afterwards has
    /// the change.
    pub(super) fn take_touch(&self) -> bool {
        self.touched.swap(false, Ordering::AcqRel)
    }

    /// Entities in its newest frame.
    pub fn entities(&self) -> usize {
        let schema = self.schema.load();
        schema.as_ref().map_or(0, |schema| {
            schema.read_offset.map_or(0, |index| schema.layout.rows(index).len())
        })
    }

    /// For the stream that speaks for the node.
    pub fn writer(&self) -> MutexGuard<'_, NodeWriter> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that a frame was stored.
    pub fn deliver(&self, schema: &Arc<Schema>, tick: Tick) {
        let known = self.schema.load().as_ref().is_some_and(|known| Arc::ptr_eq(known, schema));
        if !known {
            self.schema.store(Some(Arc::clone(schema)));
        }
        self.newest.fetch_max(tick.0, Ordering::Relaxed);
    }
}

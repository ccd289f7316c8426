//! A segment of the journal becomes files of history, in parts of some nodes each, one file for each
//! day that a part touches.
//!
//! The files carry the segment's number, so that doing it again after a crash does only what is not
//! done. Nodes are unpacked one after the other and the rows of a part kept packed, so what it takes
//! does not grow with the number of nodes. Sums of namespaces and the cluster are in the last part.

use std::{collections::BTreeSet, sync::Arc};

use tally_proto::{record::End, tick::Resolution};

use super::{
    by_node::{NodeRecords, by_node},
    kept::{Kept, Patience},
    packed::PackedRow,
    rows::SharedWhats,
    span::{FrameError, Span},
    totals::Totals,
};
use crate::{
    history::{
        disk::Disk,
        error::HistoryError,
        file::Window,
        join::{into_cut, join_rows},
        series::Row,
        store::Store,
    },
    journal::{
        entry::{Entry, EntryReader, Standing},
        segment::{Located, Segment, SegmentError, SegmentName, SegmentNumber},
    },
    model::vocabulary::Vocabulary,
};

/// Bytes of a segment after which a part ends. Its values take two or three bytes each while they
/// wait, and have taken about one here. In tests parts are small, so that there are several.
const PART_BYTES: usize = if cfg!(test) { 2 << 10 } else { 64 << 20 };

/// Values of one node that are unpacked at once: 256 MB. Only a node beyond all others has more.
const VALUES_AT_ONCE: usize = if cfg!(test) { 100 } else { 32 << 20 };

/// Writes of one segment at most. A segment ends after 4 GiB, which are 64 parts.
const PARTS: u64 = 1000;

/// The first write of a segment; all are below that of the next.
pub fn first_write(SegmentNumber(number): SegmentNumber) -> u64 {
    number.saturating_mul(PARTS)
}

/// The segment after all that have made the writes before `next`.
pub fn segment_after(next_write: u64) -> SegmentNumber {
    SegmentNumber(next_write.div_ceil(PARTS))
}

/// Why a segment can't become history now.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading it.
    #[error("cannot read back the journal")]
    Segment(#[from] SegmentError),
    /// Reading what history has of the same time.
    #[error("cannot read what history has of the same time")]
    Kept(#[source] HistoryError),
    /// Writing it.
    #[error("cannot write history")]
    Write(#[source] HistoryError),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Values that are history now.
    pub samples: u64,
    /// Frames that history had before.
    pub known: u64,
    /// Frames that could not be read, or what frames depend on.
    pub unreadable: u64,
    /// Reads of history that failed and were taken for nothing.
    pub given_up: u64,
}

/// Makes history of a segment.
pub fn seal(
    disk: &Arc<dyn Disk>,
    store: &Store,
    name: SegmentName,
    resolution: Resolution,
    patience: Patience,
) -> Result<Sealed, SealError> {
    let (nodes, read) = by_node(&**disk, name, |_| true)?;
    if read.end == End::Damaged {
        tracing::warn!(segment = %name, "the journal is damaged: what follows in the file is lost");
    }
    let mut parts = parts(nodes).into_iter().peekable();
    let segment = Segment::open(&**disk, name)?;
    let mut kept = Kept::before(store, first_write(name.number), patience);
    let mut collected = Collected::default();
    let mut number = first_write(name.number);
    while let Some(nodes) = parts.next() {
        for NodeRecords { node, records, .. } in nodes {
            collected.node(&mut kept, &segment, Span::new(node, resolution), &records)?;
        }
        if parts.peek().is_none() {
            collected.sums(&mut kept)?;
        }
        collected.write(store, number)?;
        number += 1;
    }
    collected.sealed.given_up = kept.given_up;
    Ok(collected.sealed)
}

/// The rows of a day. Those of one life that came from several nodes lie beside each other.
fn of_day(rows: &[PackedRow], day: Window) -> impl Iterator<Item = Row> + use<'_> {
    let same = rows.chunk_by(|a, b| a.life == b.life);
    same.filter_map(move |rows| {
        let row = join_rows(rows.iter().map(PackedRow::unpack).collect())?;
        into_cut(row, day.first(), day.last())
    })
}

/// Nodes in parts, by nothing but the bytes of the segment: they come out the same each time.
fn parts(nodes: Vec<NodeRecords>) -> Vec<Vec<NodeRecords>> {
    let mut parts = Vec::new();
    let (mut part, mut weight) = (Vec::new(), 0);
    for node in nodes {
        weight += node.weight;
        part.push(node);
        if PART_BYTES <= weight {
            parts.push(std::mem::take(&mut part));
            weight = 0;
        }
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

/// What has been read of a segment and is not written yet.
#[derive(Default)]
struct Collected {
    vocabulary: Vocabulary,
    rows: Vec<PackedRow>,
    whats: SharedWhats,
    totals: Totals,
    days: BTreeSet<Window>,
    /// Days of any part: sums are of all of them.
    all_days: BTreeSet<Window>,
    sealed: Sealed,
    scratch: Vec<u8>,
}

impl Collected {
    fn node(
        &mut self,
        kept: &mut Kept,
        segment: &Segment,
        mut span: Span,
        records: &[Located],
    ) -> Result<(), SealError> {
        // After a frame that can't be read its stream has nothing more that could.
        let mut is_broken = false;
        let mut entries = EntryReader::default();
        for located in records {
            let entry = match entries.next(segment.payload(*located)?) {
                Ok(Some((_, entry))) => entry,
                Ok(None) => continue,
                Err(_) => {
                    is_broken = true;
                    self.sealed.unreadable += 1;
                    continue;
                }
            };
            match entry {
                Entry::Begin(hello) => {
                    span.begin(&hello);
                    is_broken = false;
                }
                Entry::Said(said) => span.declare(said, &mut self.vocabulary),
                Entry::Known(known) => span.know(known),
                Entry::Base(frame) => {
                    if span.base(&frame).is_err() {
                        is_broken = true;
                        self.sealed.unreadable += 1;
                    }
                }
                Entry::Frame(_, _) if is_broken => self.sealed.unreadable += 1,
                Entry::Frame(frame, standing) => match span.frame(&frame, standing, kept) {
                    Ok(Some(part)) => {
                        self.totals.add(frame.tick, &part);
                        self.days.insert(Window::of(frame.tick));
                    }
                    Ok(None) => {
                        self.sealed.known += u64::from(standing != Standing::Step);
                    }
                    Err(FrameError::Bad(_)) => {
                        is_broken = true;
                        self.sealed.unreadable += 1;
                    }
                    Err(FrameError::History(error)) => return Err(SealError::Kept(error)),
                },
            }
            if VALUES_AT_ONCE <= span.values() {
                self.take(&mut span);
            }
        }
        self.take(&mut span);
        Ok(())
    }

    /// Adds the rows of all sums.
    fn sums(&mut self, kept: &mut Kept) -> Result<(), SealError> {
        let rows = std::mem::take(&mut self.totals).rows(kept).map_err(SealError::Kept)?;
        let Self { rows: packed, scratch, .. } = self;
        packed.extend(rows.into_iter().map(|row| PackedRow::pack(row, scratch)));
        self.days.append(&mut self.all_days);
        Ok(())
    }

    /// Takes the rows of a node.
    fn take(&mut self, span: &mut Span) {
        let Self { rows, scratch, whats, .. } = self;
        span.take_rows(whats, |row| rows.push(PackedRow::pack(row, scratch)));
    }

    /// Writes what is collected as one write.
    fn write(&mut self, store: &Store, number: u64) -> Result<(), SealError> {
        self.whats = SharedWhats::default();
        let (mut rows, days) = (std::mem::take(&mut self.rows), std::mem::take(&mut self.days));
        // Of those of one life the earlier stay before the later.
        rows.sort_by(|a, b| a.life.cmp(&b.life));
        for day in &days {
            if !store.has_write(*day, number) {
                let written = store.write_day(*day, number, of_day(&rows, *day));
                self.sealed.samples += written.map_err(SealError::Write)?;
            }
        }
        self.all_days.extend(days);
        Ok(())
    }
}

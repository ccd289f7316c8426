//! A segment of the journal becomes files of history, one for each day that it touches.
//!
//! The files carry the segment's number, so that doing it again after a crash does only what is not
//! done. Nodes are unpacked one after the other and their rows kept packed, so what it takes is some
//! two bytes for each value of the segment.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use tally_proto::{name::NodeName, record::End, tick::Resolution};

use super::{
    packed::PackedRow,
    span::{FrameError, Span},
    totals::Totals,
};
use crate::{
    history::{
        disk::Disk,
        error::HistoryError,
        file::Window,
        join::{cut, join_rows},
        series::Row,
        store::Store,
    },
    journal::{
        entry::{self, Entry, EntryReader, Standing, StreamNumber},
        segment::{self, Located, Segment, SegmentError, SegmentName},
    },
    model::vocabulary::Vocabulary,
};

/// Why a segment can't become history now.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// Reading it.
    #[error("cannot read back the journal")]
    Segment(#[from] SegmentError),
    /// Writing it, or reading what history has.
    #[error("cannot write history")]
    History(#[from] HistoryError),
}

/// What was done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Values that are history now.
    pub samples: u64,
    /// Frames that history had before.
    pub known: u64,
    /// Frames that could not be read: they broke their streams when they came, too.
    pub unreadable: u64,
}

/// Makes history of a segment.
pub fn seal(
    disk: &Arc<dyn Disk>,
    store: &Store,
    name: SegmentName,
    resolution: Resolution,
) -> Result<Sealed, SealError> {
    let records = by_node(&**disk, name)?;
    let segment = Segment::open(&**disk, name)?;
    let mut collected = Collected::default();
    for (node, records) in records {
        collected.node(store, &segment, Span::new(node, resolution), &records)?;
    }
    let number = name.number.0;
    let kept_to = store.newest_tick()?;
    let mut scratch = Vec::new();
    for row in std::mem::take(&mut collected.totals).rows(store, kept_to)? {
        collected.push(row, &mut scratch);
    }
    let Collected { mut rows, days, mut sealed, .. } = collected;
    rows.sort_by(|a, b| a.life.cmp(&b.life));
    for day in days {
        if !store.has_write(day, number) {
            sealed.samples += store.write_day(day, number, of_day(&rows, day))?;
        }
    }
    Ok(sealed)
}

/// The rows of a day. Those of one life that came from several nodes lie beside each other.
fn of_day(
    rows: &[PackedRow],
    day: Window,
) -> impl Iterator<Item = Result<Row, HistoryError>> + use<'_> {
    let same = rows.chunk_by(|a, b| a.life == b.life);
    same.filter_map(move |rows| {
        let unpacked: Result<Vec<Row>, _> = rows.iter().map(PackedRow::unpack).collect();
        match unpacked {
            Ok(rows) => {
                let row = join_rows(rows)?;
                cut(&row, day.first(), day.last()).map(Ok)
            }
            Err(source) => {
                let name = "rows in memory".to_owned();
                Some(Err(HistoryError::Block { name, source: source.into() }))
            }
        }
    })
}

/// The records of a segment, by node.
fn by_node(
    disk: &dyn Disk,
    name: SegmentName,
) -> Result<BTreeMap<NodeName, Vec<Located>>, SegmentError> {
    let mut nodes: HashMap<StreamNumber, NodeName> = HashMap::new();
    let mut records: HashMap<NodeName, Vec<Located>> = HashMap::new();
    let read = segment::payloads(disk, name, |located, payload| {
        let Some((stream, hello)) = entry::beginning(&payload) else { return };
        if let Some(hello) = hello {
            nodes.insert(stream, hello.node);
        }
        let Some(node) = nodes.get(&stream) else { return };
        match records.get_mut(node) {
            Some(known) => known.push(located),
            None => {
                records.insert(node.clone(), vec![located]);
            }
        }
    })?;
    if read.end == End::Damaged {
        tracing::warn!(segment = %name, "the journal is damaged: what follows in the file is lost");
    }
    Ok(records.into_iter().collect())
}

/// What has been read of a segment.
#[derive(Default)]
struct Collected {
    vocabulary: Vocabulary,
    rows: Vec<PackedRow>,
    totals: Totals,
    days: BTreeSet<Window>,
    sealed: Sealed,
}

impl Collected {
    fn node(
        &mut self,
        store: &Store,
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
                Entry::Base(frame) => is_broken |= span.base(&frame).is_err(),
                Entry::Frame(_, _) if is_broken => self.sealed.unreadable += 1,
                Entry::Frame(frame, standing) => match span.frame(&frame, standing, store) {
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
                    Err(FrameError::History(error)) => return Err(error.into()),
                },
            }
        }
        let mut scratch = Vec::new();
        for row in span.rows() {
            self.push(row, &mut scratch);
        }
        Ok(())
    }

    fn push(&mut self, row: Row, scratch: &mut Vec<u8>) {
        self.rows.push(PackedRow::pack(row, scratch));
    }
}

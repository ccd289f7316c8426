//! Which metrics the export shows, and the text that each of their points begins with.

use tally_proto::{
    catalogue::{self, METRICS, MetricId},
    declaration::ColumnNumber,
    metric::{Kind, Labels, Source, Sum},
    tick::Tick,
};

use super::{
    json::push_text,
    stamp::{Stamp, Stamps},
};
use crate::{declared::MetricKey, schema::Schema};

/// `{"start":"`: what stands between a metric's name and its first point's time.
const TO_START: &[u8] = b"{\"start\":\"";

/// One metric of the export.
pub(super) struct ExportedMetric {
    /// Which.
    pub id: MetricId,
    /// Its place in the export.
    pub place: usize,
    /// Whether its points begin at the start of their entity's life.
    pub cumulative: bool,
    /// Whether a pod without one has the sum of its containers.
    pub summed: bool,
    /// Whether specifications say it.
    pub specified: bool,
    /// Length of `"name":[`.
    pub name: usize,
}

/// The export's metrics, sorted by name.
pub(super) struct Exported {
    /// In the order of the document.
    pub metrics: Vec<ExportedMetric>,
    /// By metric, its place in that order.
    places: [Option<usize>; METRICS],
    /// By counter, the place of its rate.
    rates: [Option<usize>; METRICS],
}

impl Exported {
    /// The catalogue's.
    pub(super) fn new() -> Self {
        let mut ids: Vec<MetricId> = catalogue::all().filter(|id| id.metric().exported).collect();
        ids.sort_by_key(|id| id.metric().name);
        let (mut places, mut rates) = ([None; METRICS], [None; METRICS]);
        for (place, id) in ids.iter().enumerate() {
            let (table, id) = match catalogue::rate_source(*id) {
                Some(counter) => (&mut rates, counter),
                None => (&mut places, *id),
            };
            if let Some(slot) = table.get_mut(id.index()) {
                *slot = Some(place);
            }
        }
        let metrics = ids.into_iter().enumerate();
        let metrics = metrics.map(|(place, id)| ExportedMetric::new(id, place));
        Self { metrics: metrics.collect(), places, rates }
    }

    /// The place of the metric that a column holds, and of the rate of it.
    pub(super) fn places_of(&self, metric: &MetricKey) -> (Option<usize>, Option<usize>) {
        let MetricKey::Known(id) = metric else { return (None, None) };
        let place = |table: &[Option<usize>]| table.get(id.index()).copied().flatten();
        (place(&self.places), place(&self.rates))
    }

    /// Whether rates need a column of the frame before.
    pub(super) fn needs_before(&self, schema: &Schema, number: ColumnNumber) -> bool {
        let meaning = schema.declarations.column(number);
        number == ColumnNumber::READ_OFFSET
            || meaning.is_some_and(|column| self.places_of(&column.metric).1.is_some())
    }
}

impl ExportedMetric {
    fn new(id: MetricId, place: usize) -> Self {
        let metric = id.metric();
        Self {
            id,
            place,
            cumulative: metric.kind == Kind::Cumulative,
            summed: metric.sum != Sum::Never,
            specified: metric.source == Source::Inventory,
            name: metric.name.len() + b"\"\":[".len(),
        }
    }

    /// Where the time of a point's start is in its text.
    pub(super) fn start(&self) -> usize {
        self.name + TO_START.len()
    }

    /// `"name":[{"start":"…","end":"…","labels":{…},"value":`.
    pub(super) fn text(&self, at: &Stamp, labels: &Labels) -> Vec<u8> {
        let mut text = vec![b'"'];
        text.extend_from_slice(self.id.metric().name.as_bytes());
        text.extend_from_slice(b"\":[");
        text.extend_from_slice(TO_START);
        text.extend_from_slice(at);
        text.extend_from_slice(b"\",\"end\":\"");
        text.extend_from_slice(at);
        text.extend_from_slice(b"\",");
        for (place, (key, value)) in labels.iter().enumerate() {
            text.extend_from_slice(if place == 0 { b"\"labels\":{" } else { b"," });
            push_text(key, &mut text);
            text.push(b':');
            push_text(value, &mut text);
        }
        if !labels.is_empty() {
            text.extend_from_slice(b"},");
        }
        text.extend_from_slice(b"\"value\":");
        text
    }
}

/// The texts of metrics without labels at one tick, which most nodes share.
#[derive(Default)]
pub(super) struct Heads {
    tick: Option<Tick>,
    /// The tick's time.
    pub at: Stamp,
    /// For each metric of the export.
    pub texts: Vec<Vec<u8>>,
}

impl Heads {
    /// Makes them the texts of `tick`. `None` for a tick that no calendar has.
    pub(super) fn set(
        &mut self,
        tick: Tick,
        exported: &Exported,
        stamps: &mut Stamps,
    ) -> Option<()> {
        if self.tick != Some(tick) {
            self.at = stamps.of(tick.unix_ms())?;
            let texts = exported.metrics.iter().map(|one| one.text(&self.at, &Labels::none()));
            self.texts = texts.collect();
            self.tick = Some(tick);
        }
        Some(())
    }
}

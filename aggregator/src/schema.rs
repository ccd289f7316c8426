//! What the numbers of a frame mean: which entity a row is and in which life, which metric a
//! column is. Frames share one schema until something changes.

use std::sync::Arc;

use tally_proto::{
    catalogue::MetricId,
    columns::Layout,
    declaration::{ColumnNumber, Declared, EntityNumber},
    metric::Labels,
    name::ImageName,
    tick::UnixMs,
};

use crate::{
    declared::{Declarations, Meaning, MetricKey},
    roster::{Pod, PodContainer, Roster},
};

/// What all rows and columns of a frame mean. Frames share it until something changes.
#[derive(Clone, Debug)]
pub struct Schema {
    /// Which entities have which columns.
    pub layout: Arc<Layout>,
    /// What the numbers are.
    pub declarations: Declarations,
    /// The entities by name, with what the inventory knows of them.
    pub roster: Arc<Roster>,
    /// Index of the column that says when each entity was read.
    pub read_offset: Option<usize>,
}

impl Schema {
    /// Brings the parts together.
    pub fn new(layout: Arc<Layout>, declarations: Declarations, roster: Arc<Roster>) -> Self {
        let read_offset = layout.index_of(ColumnNumber::READ_OFFSET);
        Self { layout, declarations, roster, read_offset }
    }

    /// When a row's present life began.
    pub fn start(&self, row: EntityNumber) -> Option<UnixMs> {
        self.declarations.start(row)
    }

    /// A container's image, as its sender says.
    pub fn image(&self, row: EntityNumber) -> Option<&ImageName> {
        match &self.declarations.entity(row)?.what {
            Declared::PodContainer { image, .. } | Declared::FreeContainer { image, .. } => {
                image.as_ref()
            }
            Declared::Node | Declared::Pod { .. } | Declared::Unknown => None,
        }
    }

    /// The image of a pod's container: its specification's, else what its sender says.
    pub fn image_of<'a>(&'a self, pod: &'a Pod, container: &PodContainer) -> Option<&'a ImageName> {
        let record = pod.container_record(container);
        let specified = record.and_then(|record| record.image.as_ref());
        specified.or_else(|| self.image(container.row?))
    }

    /// The row here that is the same entity in the same life as a row of another schema.
    pub fn row_of(&self, theirs: &Schema, number: EntityNumber) -> Option<EntityNumber> {
        self.declarations.same_life(number, &theirs.declarations)
    }

    /// What the column at a layout's index is.
    pub fn meaning(&self, index: usize) -> Option<&Meaning> {
        let number = self.layout.columns.get(index)?.number;
        self.declarations.column(number).map(|meaning| &**meaning)
    }

    /// Index of the column of a metric with exactly these labels.
    pub fn column_of(&self, metric: &MetricKey, labels: &Labels) -> Option<usize> {
        (0..self.layout.columns.len()).find(|index| {
            self.meaning(*index)
                .is_some_and(|meaning| meaning.metric == *metric && meaning.labels == *labels)
        })
    }

    /// Index of the unlabelled column of a metric in the catalogue.
    pub fn plain_column(&self, id: MetricId) -> Option<usize> {
        let [index] = self.plain_columns([id]);
        index
    }

    /// Those of several metrics, found in one go.
    pub fn plain_columns<const COUNT: usize>(
        &self,
        ids: [MetricId; COUNT],
    ) -> [Option<usize>; COUNT] {
        let mut found = [None; COUNT];
        for index in 0..self.layout.columns.len() {
            let Some(meaning) = self.meaning(index) else { continue };
            let MetricKey::Known(id) = meaning.metric else { continue };
            if !meaning.labels.is_empty() {
                continue;
            }
            let wanted = ids.iter().zip(&mut found).find(|(wanted, _)| **wanted == id);
            if let Some((_, place)) = wanted {
                place.get_or_insert(index);
            }
        }
        found
    }
}

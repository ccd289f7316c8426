//! Samples of the swarm's nodes as rows of history.

use std::{collections::BTreeMap, sync::Arc};

use anyhow::Context;
use tally_aggregator::history::{
    life::{InPod, Life, Who},
    series::{Field, Quantity, Row, Series, What},
    timeline::Timeline,
};
use tally_proto::{
    columns::{Columns, unpack},
    declaration::{ColumnNumber, Declared, EntityDeclaration, EntityNumber},
    message::Declarations,
    metric::Kind,
    name::{ContainerName, NodeName},
    tick::Tick,
};

use crate::swarm::{node::Node, shape::Shape};

/// One node, played span by span.
#[derive(Debug)]
pub struct Player {
    node: Node,
    resolution_s: u64,
    tick: u64,
    state: Columns,
    lives: BTreeMap<EntityNumber, Arc<Life>>,
    whats: BTreeMap<ColumnNumber, Arc<What>>,
}

impl Player {
    /// The `number`-th node of a cluster without churn, from a tick on.
    pub fn new(shape: Shape, number: u32, first: Tick) -> anyhow::Result<Self> {
        Ok(Self {
            node: Node::new(Shape { churn_ppm: 0, ..shape }, number)?,
            resolution_s: u64::from(shape.resolution_s),
            tick: first.0,
            state: Columns::default(),
            lives: BTreeMap::new(),
            whats: BTreeMap::from([(ColumnNumber::READ_OFFSET, Arc::new(What::ReadOffset))]),
        })
    }

    /// The rows of the next `ticks` ticks.
    pub fn rows(&mut self, ticks: usize) -> anyhow::Result<Vec<Row>> {
        let mut values: BTreeMap<(EntityNumber, ColumnNumber), Vec<i64>> = BTreeMap::new();
        let mut said_at = Vec::with_capacity(ticks);
        for _ in 0..ticks {
            let said = self.node.say(Tick(self.tick));
            if let Some(declarations) = &said.declarations {
                self.declare(declarations)?;
            }
            unpack(&mut self.state, &said.frame.columns).context("just packed")?;
            for (index, column) in self.state.layout.columns.iter().enumerate() {
                let of_column = self.state.values.get(index).context("a column has values")?;
                for (entity, value) in self.state.layout.rows(index).iter().zip(of_column) {
                    values.entry((*entity, column.number)).or_default().push(*value);
                }
            }
            said_at.push(Tick(self.tick));
            self.tick += self.resolution_s;
        }
        let timeline = Arc::new(Timeline::of(said_at));
        let mut rows: BTreeMap<Arc<Life>, Vec<Series>> = BTreeMap::new();
        for ((entity, column), values) in values {
            let life = self.lives.get(&entity).context("an entity is declared")?;
            let what = self.whats.get(&column).context("a column is declared")?;
            let (what, timeline) = (Arc::clone(what), Arc::clone(&timeline));
            let series = Series { what, timeline, values, sketches: Vec::new() };
            rows.entry(Arc::clone(life)).or_default().push(series);
        }
        let row = |(life, mut series): (Arc<Life>, Vec<Series>)| {
            series.sort_by(|a, b| a.what.cmp(&b.what));
            Row { life, series }
        };
        Ok(rows.into_iter().map(row).collect())
    }

    fn declare(&mut self, said: &Declarations) -> anyhow::Result<()> {
        for column in &said.columns {
            let id = tally_proto::catalogue::find(column.metric.as_str());
            let quantity = Quantity {
                metric: column.metric.clone(),
                labels: column.labels.clone(),
                field: Field::Value,
                floating: column.floating,
                cumulative: id.is_some_and(|id| id.metric().kind == Kind::Cumulative),
            };
            self.whats.insert(column.number, Arc::new(What::Metric(quantity)));
        }
        for declared in &said.entities {
            let pod = match &declared.what {
                Declared::PodContainer { pod, .. } => {
                    said.entities.iter().find(|other| other.number == *pod)
                }
                _ => Some(declared),
            };
            let pod = pod.context("a container's pod is declared with it")?;
            let who = who(&self.node.name, declared, pod)?;
            let life = Life { who, start: declared.start };
            self.lives.insert(declared.number, Arc::new(life));
        }
        Ok(())
    }
}

fn who(
    node: &NodeName,
    declared: &EntityDeclaration,
    pod: &EntityDeclaration,
) -> anyhow::Result<Who> {
    let container = match &declared.what {
        Declared::FreeContainer { path, .. } => {
            let path = path.as_ref().context("a free container has a path")?;
            return Ok(Who::FreeContainer(node.clone(), ContainerName::parse(path)?));
        }
        Declared::PodContainer { name, .. } => name.clone(),
        Declared::Node | Declared::Unknown => return Ok(Who::Node(node.clone())),
        Declared::Pod { .. } => None,
    };
    let Declared::Pod { uid, key: Some(key), .. } = &pod.what else {
        anyhow::bail!("a pod has a name");
    };
    Ok(Who::InPod(InPod {
        namespace: key.namespace.clone(),
        pod: key.name.clone(),
        uid: uid.clone(),
        container,
        node: node.clone(),
    }))
}

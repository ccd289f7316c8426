//! Which of all numbers are exported.

use jiff::Timestamp;
use tally_proto::tick::Tick;

use super::{
    CommandError,
    flags::{Export, Kind},
};
use crate::history::{
    life::{InPod, Who},
    scan::Wanted,
    series::{Quantity, What},
};

/// Which numbers are wanted; what is not said is not asked.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    kinds: Vec<Kind>,
    metrics: Vec<String>,
    namespace: Option<String>,
    pod: Option<String>,
    node: Option<String>,
    container: Option<String>,
    first: Tick,
    last: Tick,
    /// Metrics of one name, of one kind; all of `metrics` without it.
    only: Option<(String, bool)>,
}

impl Filter {
    /// What flags ask for.
    pub(super) fn of(flags: &Export) -> Result<Self, CommandError> {
        let first = flags.start.as_deref().map(|text| time("--start", text)).transpose()?;
        let last = flags.end.as_deref().map(|text| time("--end", text)).transpose()?;
        // Ticks are whole seconds: the first that is not before the start, the last not after the
        // end.
        let first = first.map_or(0, |at| at.as_millisecond().max(0).cast_unsigned().div_ceil(1000));
        let last = match last {
            Some(at) => u64::try_from(at.as_second()).unwrap_or(0),
            None => u64::MAX,
        };
        if last < first {
            let problem = "it is before --start".to_owned();
            return Err(CommandError::Flag { flag: "--end", problem });
        }
        Ok(Self {
            kinds: flags.kind.clone(),
            metrics: flags.metric.clone(),
            namespace: flags.namespace.clone(),
            pod: flags.pod.clone(),
            node: flags.node.clone(),
            container: flags.container.clone(),
            first: Tick(first),
            last: Tick(last),
            only: None,
        })
    }

    /// The same, of one metric alone.
    pub(super) fn only(&self, metric: &str, cumulative: bool) -> Self {
        Self { only: Some((metric.to_owned(), cumulative)), ..self.clone() }
    }
}

impl Wanted for Filter {
    fn who(&self, who: &Who) -> bool {
        let is = |asked: &Option<String>, name: Option<&str>| {
            asked.as_deref().is_none_or(|asked| name == Some(asked))
        };
        let names = Names::of(who);
        (self.kinds.is_empty() || self.kinds.contains(&kind(who)))
            && is(&self.namespace, names.namespace)
            && is(&self.pod, names.pod)
            && is(&self.node, names.node)
            && is(&self.container, names.container)
    }

    fn what(&self, what: &What) -> bool {
        let What::Metric(Quantity { metric, cumulative, .. }) = what else { return false };
        match &self.only {
            Some((only, kind)) => metric.as_str() == only && cumulative == kind,
            None => {
                self.metrics.is_empty() || self.metrics.iter().any(|name| name == metric.as_str())
            }
        }
    }

    fn range(&self) -> (Tick, Tick) {
        (self.first, self.last)
    }
}

fn time(flag: &'static str, text: &str) -> Result<Timestamp, CommandError> {
    text.parse().map_err(|_| CommandError::Flag {
        flag,
        problem: format!("{text:?} is no time such as 2026-11-23T08:00:00Z (RFC 3339)"),
    })
}

/// What an entity is.
pub(super) fn kind(who: &Who) -> Kind {
    match who {
        Who::Cluster => Kind::Cluster,
        Who::Namespace(_) => Kind::Namespace,
        Who::Node(_) => Kind::Node,
        Who::FreeContainer(..) => Kind::FreeContainer,
        Who::InPod(InPod { container: None, .. }) => Kind::Pod,
        Who::InPod(_) => Kind::PodContainer,
    }
}

impl Kind {
    /// As exports and flags say it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Cluster => "cluster",
            Self::Namespace => "namespace",
            Self::Node => "node",
            Self::FreeContainer => "free-container",
            Self::Pod => "pod",
            Self::PodContainer => "pod-container",
        }
    }
}

/// The names of an entity, those that it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Names<'a> {
    pub(super) node: Option<&'a str>,
    pub(super) namespace: Option<&'a str>,
    pub(super) pod: Option<&'a str>,
    pub(super) pod_uid: Option<&'a str>,
    pub(super) container: Option<&'a str>,
}

impl<'a> Names<'a> {
    /// Of an entity; without its uid, which has no text of its own.
    pub(super) fn of(who: &'a Who) -> Self {
        let names = Self { node: who.node().map(|node| node.as_str()), ..Self::default() };
        match who {
            Who::Cluster | Who::Node(_) => names,
            Who::Namespace(namespace) => Self { namespace: Some(namespace.as_str()), ..names },
            Who::FreeContainer(_, container) => {
                Self { container: Some(container.as_str()), ..names }
            }
            Who::InPod(InPod { namespace, pod, container, .. }) => Self {
                namespace: Some(namespace.as_str()),
                pod: Some(pod.as_str()),
                container: container.as_ref().map(|container| container.as_str()),
                ..names
            },
        }
    }

    /// With the text of a pod's uid.
    pub(super) fn with_uid(self, uid: Option<&'a str>) -> Self {
        Self { pod_uid: uid, ..self }
    }
}

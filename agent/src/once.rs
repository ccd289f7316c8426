//! One reading of the host as JSON, for people, for support and for tests.
//!
//! The host is read twice, a second apart, so that rates are there too. What is printed is made
//! of the same declarations and frames that would go to the aggregator, and nothing else. It has the
//! same order at every reading: the node, then everybody by cgroup.

use std::{collections::BTreeMap, path::Path, thread::sleep, time::Duration};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tally_proto::{
    catalogue::{self, MetricId},
    columns::{Builder, Columns},
    declaration::{
        ColumnDeclaration, ColumnNumber, Declared, EntityDeclaration, EntityNumber, PodKey,
    },
    message::Declarations,
    metric::{Unit, ValueType},
    name::{CgroupPath, PodUid},
    rate,
    tick::{Tick, UnixMs},
};

use crate::{
    host::facts,
    identity::{Identity, identify},
    inquiry::Inquiry,
    sampler::{OpenError, Sampler, SamplerOptions},
};

/// Time between the two readings.
const PAUSE: Duration = Duration::from_secs(1);

const US_PER_SECOND: i64 = 1_000_000;

/// One frame, and when.
#[derive(Clone, Debug, Default)]
pub struct Frame {
    /// Its tick.
    pub tick: Tick,
    /// Its values.
    pub columns: Columns,
}

/// Reads the host twice, with names from `inquiry`. `now_us` tells microseconds since the epoch.
pub fn run(
    options: SamplerOptions,
    inquiry: Inquiry,
    mut now_us: impl FnMut() -> i64,
) -> Result<Value, OpenError> {
    let host_root = options.host_root.clone();
    let mut sampler = Sampler::open(options)?;
    sampler.ask_names(inquiry);
    let mut builder = Builder::new();
    let mut meanings = Meanings::default();
    let earlier = read(&mut sampler, &mut builder, &mut meanings, &mut now_us);
    sleep(PAUSE);
    let later = read(&mut sampler, &mut builder, &mut meanings, &mut now_us);
    let mut value = render(&meanings, &earlier, &later);
    if let Value::Object(fields) = &mut value {
        fields.insert("host".to_owned(), host(&sampler, &host_root));
        let faults: Vec<String> = sampler.unreadable().iter().map(ToString::to_string).collect();
        fields.insert("unreadable".to_owned(), json!(faults));
    }
    Ok(value)
}

/// The second of a reading is its tick: the clock must not stand still between two.
fn read(
    sampler: &mut Sampler,
    builder: &mut Builder,
    meanings: &mut Meanings,
    now_us: &mut impl FnMut() -> i64,
) -> Frame {
    let tick_s = now_us().div_euclid(US_PER_SECOND);
    let mut clock = || now_us() - tick_s * US_PER_SECOND;
    let tick = Tick(u64::try_from(tick_s).unwrap_or(0));
    meanings.apply(sampler.read(tick, &mut clock, builder));
    Frame { tick, columns: builder.finish().clone() }
}

fn host(sampler: &Sampler, host_root: &Path) -> Value {
    json!({
        "cgroup": sampler.layout().to_string(),
        "kernel": facts::kernel(host_root),
        "node": facts::node_name(host_root).ok().map(|node| node.to_string()),
    })
}

/// What the numbers of the frames mean.
#[derive(Clone, Debug, Default)]
pub struct Meanings {
    /// By number.
    pub entities: BTreeMap<EntityNumber, EntityDeclaration>,
    /// By number.
    pub columns: BTreeMap<ColumnNumber, ColumnDeclaration>,
}

impl Meanings {
    /// Adds what was said before a frame.
    pub fn apply(&mut self, said: Declarations) {
        for number in said.retired {
            self.entities.remove(&number);
        }
        self.entities.extend(said.entities.into_iter().map(|entity| (entity.number, entity)));
        self.columns.extend(said.columns.into_iter().map(|column| (column.number, column)));
    }

    fn pod(&self, pod: EntityNumber) -> Option<(&PodUid, Option<&PodKey>)> {
        match &self.entities.get(&pod)?.what {
            Declared::Pod { uid, key, .. } => Some((uid, key.as_ref())),
            _ => None,
        }
    }
}

/// The later frame's entities, with rates since the earlier one.
pub fn render(meanings: &Meanings, earlier: &Frame, later: &Frame) -> Value {
    let mut units = BTreeMap::new();
    let mut entities: Vec<_> = meanings
        .entities
        .values()
        .filter_map(|entity| {
            let read_us = read_us(later, entity.number)?;
            let mut fields = description(meanings, entity);
            let (mut metrics, labeled) = values(meanings, earlier, later, entity.number);
            if let Some(uptime_ms) = uptime_ms(entity, read_us) {
                metrics.insert(catalogue::UPTIME.metric().name.to_owned(), json!(uptime_ms));
            }
            let labeled_names = labeled.iter().filter_map(|row| row.get("metric")?.as_str());
            let names = metrics.keys().map(String::as_str).chain(labeled_names);
            units.extend(names.filter_map(|name| Some((name.to_owned(), unit(name)?))));
            fields.insert("metrics".to_owned(), Value::Object(metrics));
            fields.insert("labeled".to_owned(), Value::Array(labeled));
            Some((place(entity), Value::Object(fields)))
        })
        .collect();
    entities.sort_by_key(|(place, _)| *place);
    let entities: Vec<Value> = entities.into_iter().map(|(_, entity)| entity).collect();
    json!({ "tick": time(later.tick.unix_ms()), "entities": entities, "units": units })
}

/// Microseconds since the epoch; whoever has no reading is not part of the frame.
fn read_us(frame: &Frame, entity: EntityNumber) -> Option<i64> {
    let offset_us = frame.columns.get(entity, ColumnNumber::READ_OFFSET)?;
    frame.tick.unix_ms().0.checked_mul(1000)?.checked_add(offset_us)
}

fn uptime_ms(entity: &EntityDeclaration, read_us: i64) -> Option<i64> {
    let since_ms = (read_us / 1000).checked_sub(entity.start?.0)?;
    (0 <= since_ms).then_some(since_ms)
}

/// Where an entity stands in the list. A pod without a cgroup stands before all that have one.
fn place(entity: &EntityDeclaration) -> (bool, Option<&str>, EntityNumber) {
    let path = match &entity.what {
        Declared::Unknown | Declared::Node => None,
        Declared::Pod { path, .. }
        | Declared::PodContainer { path, .. }
        | Declared::FreeContainer { path, .. } => path.as_deref(),
    };
    (!matches!(entity.what, Declared::Node), path, entity.number)
}

/// What a metric's numbers count, in a word.
fn unit(name: &str) -> Option<&'static str> {
    let id = catalogue::find(name)?;
    Some(match id.metric().unit {
        Unit::Count => "1",
        Unit::Bytes => "bytes",
        Unit::Milliseconds => "ms",
        Unit::Nanoseconds => "ns",
        Unit::Millicores => "millicores",
        Unit::Ratio => "ratio",
        Unit::PerSecond => match catalogue::rate_source(id)?.metric().unit {
            Unit::Bytes => "bytes/s",
            Unit::Nanoseconds => "ns/s",
            _ => "1/s",
        },
    })
}

fn description(meanings: &Meanings, entity: &EntityDeclaration) -> Map<String, Value> {
    let root = CgroupPath::parse("/").ok();
    let (kind, path, pod, id) = match &entity.what {
        Declared::Unknown => ("unknown", None, None, None),
        Declared::Node => ("node", root.as_ref(), None, None),
        Declared::Pod { uid, key, path } => ("pod", path.as_ref(), Some((uid, key.as_ref())), None),
        Declared::PodContainer { pod, id, path, sandbox, .. } => {
            let kind = if *sandbox { "sandbox" } else { "pod_container" };
            (kind, path.as_ref(), meanings.pod(*pod), id.as_ref())
        }
        Declared::FreeContainer { id, path, .. } => {
            ("free_container", path.as_ref(), None, id.as_ref())
        }
    };
    let (name, image) = match &entity.what {
        Declared::PodContainer { name, image, .. }
        | Declared::FreeContainer { name, image, .. } => (name.as_ref(), image.as_ref()),
        Declared::Unknown | Declared::Node | Declared::Pod { .. } => (None, None),
    };
    let (uid, key) = pod.unzip();
    let key = key.flatten();
    let runtime = path.and_then(|path| match identify(path).what {
        Identity::PodContainer(_, container) | Identity::FreeContainer(container) => {
            container.runtime
        }
        _ => None,
    });
    let present = [
        ("kind", Some(kind.to_owned())),
        ("cgroup", path.map(|path| path.to_string())),
        ("namespace", key.map(|key| key.namespace.to_string())),
        ("pod", key.map(|key| key.name.to_string())),
        ("container", name.map(ToString::to_string)),
        ("image", image.map(ToString::to_string)),
        ("pod_uid", uid.map(ToString::to_string)),
        ("container_id", id.map(ToString::to_string)),
        ("runtime", runtime.map(|runtime| runtime.to_string())),
        ("start", entity.start.and_then(time)),
    ];
    let present = present.into_iter().filter_map(|(key, value)| Some((key, value?)));
    present.map(|(key, value)| (key.to_owned(), Value::String(value))).collect()
}

/// Plain metrics by name, and labelled ones sorted.
fn values(
    meanings: &Meanings,
    earlier: &Frame,
    later: &Frame,
    entity: EntityNumber,
) -> (Map<String, Value>, Vec<Value>) {
    let mut metrics = Map::new();
    let mut labeled = BTreeMap::new();
    for column in meanings.columns.values() {
        let Some(value) = later.columns.get(entity, column.number) else { continue };
        let rate =
            catalogue::find(column.metric.as_str()).and_then(catalogue::rate_of).and_then(|rate| {
                Some((rate.metric().name, rate_of(rate, earlier, later, entity, column)?))
            });
        let named = std::iter::once((column.metric.as_str(), json!(value))).chain(rate);
        for (name, value) in named {
            if column.labels.is_empty() {
                metrics.insert(name.to_owned(), value);
            } else {
                let labels: Map<String, Value> = column
                    .labels
                    .iter()
                    .map(|(key, value)| (key.to_owned(), json!(value)))
                    .collect();
                let row = json!({ "metric": name, "labels": labels, "value": value });
                labeled.insert((name.to_owned(), column.labels.clone()), row);
            }
        }
    }
    (metrics, labeled.into_values().collect())
}

/// The rate of a column, where a true one can be told.
fn rate_of(
    rate: MetricId,
    earlier: &Frame,
    later: &Frame,
    entity: EntityNumber,
    column: &ColumnDeclaration,
) -> Option<Value> {
    let value = |frame: &Frame| frame.columns.get(entity, column.number);
    let growth = rate::growth(value(earlier)?, value(later)?).ok()?;
    let elapsed_us =
        u64::try_from(read_us(later, entity)?.checked_sub(read_us(earlier, entity)?)?).ok()?;
    match (rate.metric().unit, rate.metric().value) {
        (Unit::Millicores, ValueType::Integer) => {
            rate::millicores(growth, elapsed_us).ok().map(|rate| json!(rate))
        }
        _ => rate::per_second(growth, elapsed_us).ok().map(|rate| json!(rate)),
    }
}

fn time(at: UnixMs) -> Option<String> {
    Some(Timestamp::from_millisecond(at.0).ok()?.to_string())
}

#[cfg(test)]
mod tests {
    use tally_proto::metric::{Labels, MetricName};

    use super::*;

    fn column(number: u32, metric: &str, resource: Option<&str>) -> ColumnDeclaration {
        ColumnDeclaration {
            number: ColumnNumber(number),
            metric: MetricName::parse(metric).unwrap(),
            labels: Labels::new(resource.map(|resource| ("resource_id", resource))).unwrap(),
            floating: false,
            cumulative: false,
        }
    }

    /// A frame of one node: column numbers and values, the first of them the read offset.
    fn frame(tick: u64, values: &[i64]) -> Frame {
        let mut builder = Builder::new();
        for (number, value) in (0..).zip(values) {
            builder.set(EntityNumber(0), ColumnNumber(number), *value);
        }
        Frame { tick: Tick(tick), columns: builder.finish().clone() }
    }

    fn node() -> Meanings {
        let mut meanings = Meanings::default();
        let declared =
            EntityDeclaration { number: EntityNumber(0), start: None, what: Declared::Node };
        meanings.apply(Declarations {
            entities: vec![declared],
            columns: vec![
                column(1, "cpu/usage", None),
                column(2, "disk/io_read_bytes", Some("vda")),
            ],
            retired: Vec::new(),
        });
        meanings
    }

    #[test]
    fn rates_divide_by_the_time_between_the_readings() {
        let earlier = frame(100, &[0, 5_000_000, 10]);
        let later = frame(101, &[500_000, 755_000_000, 40]);
        let found = render(&node(), &earlier, &later);
        let expected = json!([{
            "kind": "node",
            "cgroup": "/",
            "metrics": { "cpu/usage": 755_000_000, "cpu/usage_rate": 500 },
            "labeled": [
                { "metric": "disk/io_read_bytes", "labels": { "resource_id": "vda" }, "value": 40 },
                { "metric": "disk/io_read_bytes_rate", "labels": { "resource_id": "vda" }, "value": 20.0 },
            ],
        }]);
        assert_eq!(found["entities"], expected);
        assert_eq!(found["tick"], "1970-01-01T00:01:41Z");
    }

    #[test]
    fn names_have_units_and_a_life_has_an_uptime() {
        let mut meanings = node();
        let start = Some(UnixMs(40_000));
        let what = Declared::Node;
        let declared = EntityDeclaration { number: EntityNumber(0), start, what };
        meanings.apply(Declarations { entities: vec![declared], ..Declarations::default() });
        let found = render(&meanings, &frame(100, &[0, 5, 5]), &frame(101, &[500_000, 9, 9]));
        assert_eq!(found["entities"][0]["metrics"]["uptime"], 61_500);
        let units = json!({
            "cpu/usage": "ns",
            "cpu/usage_rate": "millicores",
            "disk/io_read_bytes": "bytes",
            "disk/io_read_bytes_rate": "bytes/s",
            "uptime": "ms",
        });
        assert_eq!(found["units"], units);
    }

    #[test]
    fn the_node_is_first_and_the_others_are_by_cgroup() {
        let mut meanings = Meanings::default();
        let free = |path: &str| Declared::FreeContainer {
            name: None,
            id: None,
            path: CgroupPath::parse(path).ok(),
            image: None,
        };
        let what = [free("/b"), free("/a"), Declared::Node];
        let mut builder = Builder::new();
        for (number, what) in (0..).zip(what) {
            let number = EntityNumber(number);
            builder.set(number, ColumnNumber::READ_OFFSET, 0);
            let entities = vec![EntityDeclaration { number, start: None, what }];
            meanings.apply(Declarations { entities, ..Declarations::default() });
        }
        let later = Frame { tick: Tick(1), columns: builder.finish().clone() };
        let found = render(&meanings, &Frame::default(), &later);
        let cgroups = found["entities"].as_array().unwrap().iter();
        let cgroups: Vec<_> = cgroups.map(|entity| entity["cgroup"].as_str().unwrap()).collect();
        assert_eq!(cgroups, ["/", "/a", "/b"]);
    }

    #[test]
    fn a_total_that_went_down_has_no_rate() {
        let found = render(&node(), &frame(100, &[0, 9]), &frame(101, &[0, 5]));
        assert_eq!(found["entities"][0]["metrics"], json!({ "cpu/usage": 5 }));
    }

    #[test]
    fn an_entity_that_was_not_read_is_not_shown() {
        let found = render(&node(), &frame(100, &[0, 5]), &Frame::default());
        assert_eq!(found["entities"], json!([]));
    }
}

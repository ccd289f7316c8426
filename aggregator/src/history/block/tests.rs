//! Rows come back from their blocks, whatever their numbers; and no bytes break a reader.

use std::sync::Arc;

use bytes::Bytes;
use proptest::prelude::*;
use tally_proto::{
    metric::{Labels, MetricName},
    name::{ContainerName, NamespaceName, NodeName, PodName, PodUid},
    tick::{Tick, UnixMs},
};

use super::*;
use crate::history::{
    life::{InPod, Life, Who},
    series::{Field, Quantity, Row, Series, What},
    timeline::Timeline,
};

fn life(row: usize) -> Arc<Life> {
    let in_pod = InPod {
        namespace: NamespaceName::parse("default").unwrap(),
        pod: PodName::parse(&format!("web-{}", row / 3)).unwrap(),
        uid: PodUid::parse("u").unwrap(),
        container: [None, Some("app"), Some("proxy")][row % 3]
            .map(|name| ContainerName::parse(name).unwrap()),
        node: NodeName::parse("node-a").unwrap(),
    };
    Arc::new(Life { who: Who::InPod(in_pod), start: Some(UnixMs(5)) })
}

fn what(column: usize, floating: bool) -> Arc<What> {
    if column == 0 {
        return Arc::new(What::ReadOffset);
    }
    if column == 4 {
        return Arc::new(What::StoredLabels(Labels::new([("app", "web")]).unwrap()));
    }
    let metric = MetricName::parse(&format!("custom/{column}")).unwrap();
    let field = if column == 5 { Field::Count } else { Field::Value };
    let labels = Labels::none();
    Arc::new(What::Metric(Quantity { metric, labels, field, floating, cumulative: false }))
}

/// Numbers as metrics have them, and any others.
fn value() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => Just(0i64),
        3 => (0i64..100).prop_map(|pages| pages * 4096),
        2 => (any::<i64>(), 0u32..64).prop_map(|(bits, shift)| bits >> shift),
        1 => any::<i32>().prop_map(|half| (f64::from(half) / 2.0).to_bits().cast_signed()),
    ]
}

/// A series that may be the sum of two before it.
#[derive(Clone, Debug)]
struct Drawn {
    values: Vec<i64>,
    is_sum: bool,
    floating: bool,
    gap: bool,
}

fn drawn(ticks: usize) -> impl Strategy<Value = Drawn> {
    let values = prop::collection::vec(value(), ticks);
    (values, any::<bool>(), prop::bool::weighted(0.2), prop::bool::weighted(0.2))
        .prop_map(|(values, is_sum, floating, gap)| Drawn { values, is_sum, floating, gap })
}

fn rows() -> impl Strategy<Value = Vec<Row>> {
    (0usize..60).prop_flat_map(|ticks| {
        let row = prop::collection::vec(drawn(ticks), 1..6);
        prop::collection::vec(row, 1..8).prop_map(move |rows| build(ticks, &rows))
    })
}

fn build(ticks: usize, rows: &[Vec<Drawn>]) -> Vec<Row> {
    let tick = |place: usize| Tick(1_790_000_000 + 15 * u64::try_from(place).unwrap());
    let all = Arc::new(Timeline::of((0..ticks).map(tick)));
    let row = |(place, drawn): (usize, &Vec<Drawn>)| {
        let mut series: Vec<Series> = Vec::new();
        for (column, one) in drawn.iter().enumerate() {
            let mut values = one.values.clone();
            if let (true, [.., a, b]) = (one.is_sum, series.as_slice())
                && a.values.len() == b.values.len()
                && a.values.len() == values.len()
            {
                values = a.values.iter().zip(&b.values).map(|(a, b)| a.wrapping_add(*b)).collect();
            }
            let timeline = if one.gap {
                values = values.iter().step_by(3).copied().collect();
                Arc::new(Timeline::of((0..ticks).step_by(3).map(tick)))
            } else {
                Arc::clone(&all)
            };
            let sketches = if column == 5 { vec![1, 2, 3] } else { Vec::new() };
            series.push(Series { what: what(column, one.floating), timeline, values, sketches });
        }
        series.sort_by(|a, b| a.what.cmp(&b.what));
        Row { life: life(place), series }
    };
    rows.iter().enumerate().map(row).collect()
}

fn decoded(encoded: &Encoded) -> Result<Vec<Row>, BlockError> {
    let names = Names::decode(&encoded.names)?;
    let columns = Columns::decode(&encoded.columns)?;
    let bytes = Bytes::copy_from_slice(&encoded.sections);
    let section = |row: usize| -> Result<Arc<Section>, BlockError> {
        let range = names.rows.get(row).map(|named| named.section.clone()).unwrap_or_default();
        let inside = range.end <= bytes.len();
        let section = if inside { bytes.slice(range) } else { Bytes::new() };
        Section::decode(section, row, &columns).map(Arc::new)
    };
    (0..names.rows.len()).map(|row| decode_row(&names, &columns, section, row)).collect()
}

proptest! {
    #[test]
    fn rows_come_back(rows in rows()) {
        let encoded = encode(&mut rows.clone()).unwrap().unwrap();
        prop_assert_eq!(decoded(&encoded), Ok(rows));
    }

    #[test]
    fn bytes_that_are_not_as_they_were_never_panic(
        rows in rows(), part in 0usize..3, at: prop::sample::Index, byte: u8, length: prop::sample::Index,
    ) {
        let mut encoded = encode(&mut rows.clone()).unwrap().unwrap();
        // Names and columns are compressed: what is inside them is changed, not the frame.
        let unpacked = |bytes: &[u8]| decompress(bytes).unwrap();
        let mut changed = match part {
            0 => unpacked(&encoded.names),
            1 => unpacked(&encoded.columns),
            _ => encoded.sections.clone(),
        };
        let place = at.index(changed.len());
        changed[place] ^= byte;
        changed.truncate(changed.len() - length.index(2));
        match part {
            0 => encoded.names = compress(&changed).unwrap(),
            1 => encoded.columns = compress(&changed).unwrap(),
            _ => encoded.sections = checksummed_anew(changed, &encoded),
        }
        let _unread = decoded(&encoded);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes: Vec<u8>) {
        let packed = compress(&bytes).unwrap();
        for bytes in [bytes, packed] {
            let _unread = (Names::decode(&bytes).is_ok(), Columns::decode(&bytes).is_ok());
            let _unread = crate::history::file::index::Index::decode(&bytes).is_ok();
        }
    }
}

/// Gives every section the checksum that fits what is in it now.
fn checksummed_anew(mut sections: Vec<u8>, encoded: &Encoded) -> Vec<u8> {
    for named in Names::decode(&encoded.names).unwrap().rows {
        if let Some(section) = sections.get_mut(named.section)
            && let Some((inside, checksum)) = section.split_last_chunk_mut::<4>()
        {
            *checksum = crc32fast::hash(inside).to_le_bytes();
        }
    }
    sections
}

#[test]
fn a_series_with_too_few_values_is_refused() {
    let timeline = Arc::new(Timeline::of([Tick(1), Tick(2)]));
    let series = Series { what: what(1, false), timeline, values: vec![7], sketches: Vec::new() };
    let refused = encode(&mut [Row { life: life(0), series: vec![series] }]).unwrap_err();
    assert_eq!(refused, BlockError::Uneven { values: 1, ticks: 2 });
}

#[test]
fn a_section_that_was_changed_is_noticed() {
    let rows =
        build(9, &[vec![Drawn { values: vec![3; 9], is_sum: false, floating: false, gap: false }]]);
    let mut encoded = encode(&mut rows.clone()).unwrap().unwrap();
    encoded.sections[1] ^= 1;
    assert_eq!(decoded(&encoded), Err(BlockError::Checksum));
}

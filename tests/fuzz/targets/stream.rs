//! A whole stream against the live model: whatever an agent says, taking it, summing it up and
//! answering questions about it never panics.

#![no_main]

use std::{ops::ControlFlow, sync::Arc};

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tally_aggregator::{
    model::Model,
    query::{Queries, TickRange},
};
use tally_proto::{
    decode,
    message::{AgentMessage, BootId, Run},
    metric::Labels,
    name::NodeName,
    tick::{Resolution, UnixMs},
    wire,
};

/// Metrics to ask every entity for: a level, a rate, and what is worked out without a column.
const METRICS: [&str; 4] = ["memory/usage", "cpu/usage_rate", "uptime", "cpu/node_utilization"];

fuzz_target!(|data: &[u8]| {
    let resolution = Resolution::from_seconds(1).expect("1 s is one");
    let model = Arc::new(Model::new(resolution, 60_000));
    let node = model.node(&NodeName::parse("node").expect("a valid name"));
    let begin = |writer: &mut tally_aggregator::model::writer::NodeWriter| {
        writer.begin_stream(BootId([0; 16]), UnixMs(0), 0).expect("the boot is the same")
    };
    let mut turn = begin(&mut node.writer());
    let mut rest = data;
    while let Ok(message) = wire::AgentMessage::decode_length_delimited(&mut rest) {
        match decode::agent_message(message) {
            Ok(AgentMessage::Hello(_)) | Err(_) => {
                model.end_stream(&node, turn);
                turn = begin(&mut node.writer());
            }
            Ok(AgentMessage::Declarations(said)) => model.declare(&mut node.writer(), said),
            Ok(AgentMessage::Unknown) => (),
            Ok(AgentMessage::Frame(frame)) => {
                let mut writer = node.writer();
                if model.apply(&node, &mut writer, Run(1), &frame, UnixMs(0)).is_err() {
                    turn = begin(&mut writer);
                }
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    ask(&model);
    model.sweep();
});

fn ask(model: &Arc<Model>) {
    model.advance(UnixMs(i64::MAX));
    let queries = Queries::new(Arc::clone(model));
    for entity in queries.keys().iter().take(20) {
        queries.metric_names(entity);
        for metric in METRICS {
            queries.series(entity, metric, &Labels::none(), TickRange::ALL);
        }
    }
    let mut document = Vec::new();
    let whole = queries.export(|piece| {
        document.extend_from_slice(&piece);
        ControlFlow::Continue(())
    });
    assert_eq!(whole, ControlFlow::Continue(()));
    serde_json::from_slice::<serde_json::Value>(&document).expect("an export is JSON");
}

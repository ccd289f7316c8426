//! Kubernetes quantities, as a node's capacity.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_aggregator::inventory::{Inventory, LabelForm, add_list};
use tally_proto::name::NodeName;

fuzz_target!(|text: &str| {
    let list = serde_json::json!({
        "kind": "NodeList",
        "items": [{
            "metadata": {"name": "node"},
            "status": {"capacity": {"cpu": text, "memory": text}},
        }],
    });
    let mut inventory = Inventory::default();
    if add_list(&mut inventory, &list.to_string(), &LabelForm::default()).is_err() {
        return;
    }
    let node = NodeName::parse("node").expect("a valid name");
    let capacity = &inventory.node(&node).expect("it was added").capacity;
    if let (Some(cpu), Some(memory)) = (capacity.cpu_millicores, capacity.memory_bytes) {
        // Both are rounded away from zero from the same number, one of them in thousandths.
        let thousandths = i128::from(memory).abs() * 1000;
        let rounded_by = thousandths - i128::from(cpu).abs();
        assert!((0..1000).contains(&rounded_by), "{text:?}: {cpu} {memory}");
        assert!(cpu.signum() * memory.signum() >= 0, "{text:?}: {cpu} {memory}");
    }
});

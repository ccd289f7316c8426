//! LIST answers of a Kubernetes API server.

#![no_main]

use libfuzzer_sys::fuzz_target;
use tally_aggregator::inventory::{Inventory, LabelForm, add_list};

fuzz_target!(|text: &str| {
    // A refusal is as good as an answer: only a panic is a fault.
    drop(add_list(&mut Inventory::default(), text, &LabelForm::default()));
});

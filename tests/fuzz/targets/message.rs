//! A message of an agent: protobuf, and then the check that every field is within its limits.

#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use tally_proto::{decode, encode, wire};

fuzz_target!(|data: &[u8]| {
    let Ok(message) = wire::AgentMessage::decode(data) else { return };
    let Ok(decoded) = decode::agent_message(message) else { return };
    let again = decode::agent_message(encode::agent_message(decoded.clone()));
    assert_eq!(again, Ok(decoded), "what was understood can be said again");
});

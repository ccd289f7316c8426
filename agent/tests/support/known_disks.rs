//! What is known of disks, as if somebody had looked.

use std::sync::Arc;

use tally_agent::disk_usage::{Board, DiskUsage, PodUsage, Space, Volume};
use tally_proto::name::PodUid;

/// A volume of one byte of each of the pods `0`, `1` and so on.
pub(crate) fn volume_of_each(pods: u32) -> Board {
    let one = |number: u32| {
        let space = Space { used_bytes: Some(1), room: None };
        let resource = format!("Volume:{number}").into();
        let volume = Volume { resource, space, is_ephemeral: true, holds_data: true };
        let usage = PodUsage { volumes: Some(vec![volume]), ..PodUsage::default() };
        (PodUid::parse(&number.to_string()).unwrap(), usage)
    };
    let board = Board::default();
    let pods = (0..pods).map(one).collect();
    board.put(Arc::new(DiskUsage { pods, knows_layers: true, ..DiskUsage::default() }));
    board
}

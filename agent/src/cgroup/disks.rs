//! What went over each block device, kept in order of their first appearance.

use crate::parse::device::{DeviceIo, DeviceNumber};

/// Devices of one cgroup that are kept: more than any host has disks.
const DEVICES_MAX: usize = 256;

/// One device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disk {
    /// Which.
    pub device: DeviceNumber,
    /// What went over it.
    pub io: DeviceIo,
}

/// The devices of one cgroup.
#[derive(Clone, Debug, Default)]
pub struct Disks(Vec<Disk>);

impl Disks {
    /// The figures of a device; it is added when it is new. `None` when there are too many.
    pub fn of(&mut self, device: DeviceNumber) -> Option<&mut DeviceIo> {
        let place = match self.0.iter().position(|disk| disk.device == device) {
            Some(place) => place,
            None if self.0.len() < DEVICES_MAX => {
                self.0.push(Disk { device, io: DeviceIo::default() });
                self.0.len() - 1
            }
            None => return None,
        };
        self.0.get_mut(place).map(|disk| &mut disk.io)
    }

    /// Each device.
    pub fn iter(&self) -> impl Iterator<Item = &Disk> {
        self.0.iter()
    }
}

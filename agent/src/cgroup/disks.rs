//! What went over each block device, kept in order of their first appearance.
//!
//! A device that is not in the kernel's list any more keeps its place and has no numbers: what it
//! did last is not what it does now.

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
    /// Whether the last list had it.
    pub is_there: bool,
}

/// The devices of one cgroup.
#[derive(Clone, Debug, Default)]
pub struct Disks(Vec<Disk>);

impl Disks {
    /// A new list begins: whoever is not in it is not there.
    pub fn begin(&mut self) {
        for disk in &mut self.0 {
            disk.is_there = false;
        }
    }

    /// The figures of a device that is there; it is added when it is new. `None` when there are too many.
    pub fn of(&mut self, device: DeviceNumber) -> Option<&mut DeviceIo> {
        let place = match self.0.iter().position(|disk| disk.device == device) {
            Some(place) => place,
            None if self.0.len() < DEVICES_MAX => {
                self.0.push(Disk { device, io: DeviceIo::default(), is_there: true });
                self.0.len() - 1
            }
            None => return None,
        };
        let disk = self.0.get_mut(place)?;
        disk.is_there = true;
        Some(&mut disk.io)
    }

    /// Each device, those that are not there too.
    pub fn iter(&self) -> impl Iterator<Item = &Disk> {
        self.0.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_went_keeps_its_place_without_numbers() {
        let device = |minor| DeviceNumber { major: 254, minor };
        let mut disks = Disks::default();
        let mut list = |minors: &[u32]| {
            disks.begin();
            for minor in minors {
                disks.of(device(*minor)).unwrap();
            }
            disks.iter().map(|disk| (disk.device.minor, disk.is_there)).collect::<Vec<_>>()
        };
        assert_eq!(list(&[0, 16]), [(0, true), (16, true)]);
        assert_eq!(list(&[16]), [(0, false), (16, true)]);
        assert_eq!(list(&[0]), [(0, true), (16, false)]);
    }
}

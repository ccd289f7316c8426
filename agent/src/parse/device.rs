//! Block devices, and what was read from and written to them.

use std::fmt;

use super::line::decimal;

/// A block device's number; its name is in `/proc/diskstats`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceNumber {
    /// The driver.
    pub major: u32,
    /// The device or partition.
    pub minor: u32,
}

impl DeviceNumber {
    /// `254:0`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let colon = text.iter().position(|byte| *byte == b':')?;
        let (major, minor) = text.split_at(colon);
        let half = |digits: &[u8]| u32::try_from(decimal(digits)?).ok();
        Some(Self { major: half(major)?, minor: half(minor.get(1..)?)? })
    }
}

impl fmt::Display for DeviceNumber {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}:{}", self.major, self.minor)
    }
}

/// What went over one device. v1 tells bytes and operations in two files, so each may be absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeviceIo {
    /// Bytes read.
    pub read_bytes: Option<u64>,
    /// Bytes written.
    pub write_bytes: Option<u64>,
    /// Operations read.
    pub read_operations: Option<u64>,
    /// Operations written.
    pub write_operations: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_two_numbers() {
        let vda = DeviceNumber { major: 254, minor: 0 };
        assert_eq!(DeviceNumber::parse(b"254:0"), Some(vda));
        assert_eq!(vda.to_string(), "254:0");
        for bad in ["", ":", "254", "254:", "254:x", "4294967296:0"] {
            assert_eq!(DeviceNumber::parse(bad.as_bytes()), None, "{bad:?}");
        }
    }
}

//! Times and sizes as people write them: `15`, `15s`, `1m`; `8388608`, `512KiB`, `8MiB`.

/// Text that is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time is a whole number with s, m or h, or without a unit for seconds")]
pub(super) struct BadSeconds;

/// Text that is no size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is a whole number with KiB, MiB or GiB, or without a unit for bytes")]
pub(super) struct BadBytes;

/// Parses a time.
pub(super) fn seconds(text: &str) -> Result<u64, BadSeconds> {
    scaled(text, &[("s", 1), ("m", 60), ("h", 3600)]).ok_or(BadSeconds)
}

/// Parses a size.
pub(super) fn bytes(text: &str) -> Result<u64, BadBytes> {
    scaled(text, &[("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]).ok_or(BadBytes)
}

fn scaled(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let with_unit = units
        .iter()
        .find_map(|(unit, scale)| text.strip_suffix(unit).map(|number| (number, *scale)));
    let (number, scale) = with_unit.unwrap_or((text, 1));
    // `parse` would take a plus sign too.
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    number.parse::<u64>().ok()?.checked_mul(scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let times = [("15", 15), ("15s", 15), ("1m", 60), ("1h", 3600), ("0", 0)];
        for (text, expected) in times {
            assert_eq!(seconds(text), Ok(expected), "{text:?}");
        }
        for text in [
            "",
            "s",
            "1.5s",
            "-1",
            "+1",
            "1 s",
            "1ms",
            "15S",
            "99999999999999999999",
            "9999999999999999999h",
        ] {
            assert_eq!(seconds(text), Err(BadSeconds), "{text:?}");
        }
    }

    #[test]
    fn sizes() {
        let sizes =
            [("8388608", 8 << 20), ("8MiB", 8 << 20), ("512KiB", 512 << 10), ("1GiB", 1 << 30)];
        for (text, expected) in sizes {
            assert_eq!(bytes(text), Ok(expected), "{text:?}");
        }
        for text in ["", "MiB", "8MB", "8 MiB", "8m", "-8"] {
            assert_eq!(bytes(text), Err(BadBytes), "{text:?}");
        }
    }
}

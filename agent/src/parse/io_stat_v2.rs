//! `io.stat` of cgroup v2: `254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`.
//!
//! A device without figures may stand alone on its line, or, where the kernel forgot to end the
//! line, before the next device: `7:0 254:0 rbytes=…`.

use super::{
    device::{DeviceIo, DeviceNumber},
    line::{BadLine, decimal, lines, words},
};

/// Calls `take` with the figures of each device that has some.
pub fn each(text: &[u8], mut take: impl FnMut(DeviceNumber, DeviceIo)) -> Result<(), BadLine> {
    for (line_no, line) in lines(text) {
        let bad = BadLine { line_no };
        let mut device = None;
        let mut io = DeviceIo::default();
        for word in words(line) {
            let Some(equals) = word.iter().position(|byte| *byte == b'=') else {
                device = Some(DeviceNumber::parse(word).ok_or(bad)?);
                continue;
            };
            let (key, value) = word.split_at(equals);
            let place = match key {
                b"rbytes" => &mut io.read_bytes,
                b"wbytes" => &mut io.write_bytes,
                b"rios" => &mut io.read_operations,
                b"wios" => &mut io.write_operations,
                _ => continue,
            };
            *place = Some(value.get(1..).and_then(decimal).ok_or(bad)?);
        }
        if io != DeviceIo::default() {
            take(device.ok_or(bad)?, io);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Result<Vec<(String, DeviceIo)>, BadLine> {
        let mut found = Vec::new();
        each(text, |device, io| found.push((device.to_string(), io)))?;
        Ok(found)
    }

    const IO: DeviceIo = DeviceIo {
        read_bytes: Some(1),
        write_bytes: Some(2),
        read_operations: Some(3),
        write_operations: Some(4),
    };

    #[test]
    fn a_line_for_each_device() {
        assert_eq!(
            all(b"254:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0 cost.usage=5\n"),
            Ok(vec![("254:0".into(), IO)])
        );
    }

    #[test]
    fn a_bare_device_has_no_figures_even_on_anothers_line() {
        assert_eq!(all(b"7:0\n"), Ok(vec![]));
        assert_eq!(
            all(b"7:0 254:0 rbytes=1 wbytes=2 rios=3 wios=4\n"),
            Ok(vec![("254:0".into(), IO)])
        );
    }

    #[test]
    fn a_broken_line_is_named() {
        assert_eq!(all(b"254:0 rbytes=x\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(all(b"vda rbytes=1\n"), Err(BadLine { line_no: 1 }));
        assert_eq!(all(b"rbytes=1\n"), Err(BadLine { line_no: 1 }));
    }
}

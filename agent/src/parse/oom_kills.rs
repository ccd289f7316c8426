//! Processes killed for lack of memory: `memory.events` of v2, `memory.oom_control` of v1.
//!
//! Both have a line `oom_kill NUMBER`; v1's is missing before 4.13.

use super::line::{BadLine, each_key};

/// The number of kills, where the kernel counts them.
pub fn parse(text: &[u8]) -> Result<Option<u64>, BadLine> {
    let mut kills = None;
    each_key(text, |key, number| {
        if key == b"oom_kill" {
            kills = Some(number);
        }
    })?;
    Ok(kills)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_kills_count() {
        assert_eq!(
            parse(b"low 0\nhigh 0\nmax 5\noom 4\noom_kill 3\noom_group_kill 1\n"),
            Ok(Some(3))
        );
        assert_eq!(parse(b"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"), Ok(Some(2)));
        assert_eq!(parse(b"oom_kill_disable 0\nunder_oom 0\n"), Ok(None));
    }
}

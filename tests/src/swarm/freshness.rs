//! How old a number is when REST first shows it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tally_proto::tick::Tick;
use tokio::sync::watch;

use super::{
    clock::Clock,
    http::{HttpClient, HttpError},
    uplink::LastRead,
};

/// Time between two questions. It is part of what is measured: half of it, on the average. And
/// asking is part of what the aggregator does: more often would be seen in its CPU time.
const POLL: Duration = Duration::from_millis(10);

/// Watches one node: from each of its readings until REST shows it, for as long as it sends.
pub async fn watch(
    rest: &str,
    node: &str,
    mut read: watch::Receiver<LastRead>,
    clock: Clock,
    mut found: impl FnMut(Duration),
) -> Result<(), HttpError> {
    let path = format!("/api/v1/model/nodes/{node}/metrics/memory/usage");
    // What was read before is old already.
    read.mark_unchanged();
    while read.changed().await.is_ok() {
        let Some((tick, read_at)) = *read.borrow_and_update() else { continue };
        // A connection that is idle from tick to tick would be closed.
        let mut client = HttpClient::connect(rest).await?;
        loop {
            let answer = client.get(&path).await?;
            if latest(&answer.body).is_some_and(|latest| tick <= latest) {
                found(clock.elapsed().saturating_sub(read_at));
                break;
            }
            match read.has_changed() {
                Ok(false) => tokio::time::sleep(POLL).await,
                // It never became visible within its tick: that is the age it reached.
                Ok(true) => {
                    found(clock.elapsed().saturating_sub(read_at));
                    break;
                }
                Err(_) => return Ok(()),
            }
        }
    }
    Ok(())
}

fn latest(body: &[u8]) -> Option<Tick> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let latest: Timestamp = answer.get("latestTimestamp")?.as_str()?.parse().ok()?;
    u64::try_from(latest.as_second()).ok().map(Tick)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_time_is_read_from_the_answer() {
        let body = br#"{"metrics": [], "latestTimestamp": "1970-01-01T00:01:40Z"}"#;
        assert_eq!(latest(body), Some(Tick(100)));
        assert_eq!(latest(b"{}"), None);
    }
}

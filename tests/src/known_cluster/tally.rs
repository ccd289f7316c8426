//! What the aggregator answers, at its service's address.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use serde_json::Value;
use tokio::time::timeout;

use crate::swarm::http::HttpClient;

/// How long one answer may take. A service's address may lead to a pod that is gone, from which none comes.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// The aggregator.
#[derive(Clone, Debug)]
pub struct Tally {
    /// `http://IP:PORT`.
    pub url: String,
}

/// A value of a series.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Milliseconds since the epoch: its tick.
    pub at_ms: i64,
    /// As large as 2^53 exact.
    pub value: f64,
}

impl Tally {
    /// An answer in JSON.
    pub async fn json(&self, path: &str) -> anyhow::Result<Value> {
        let ask = async { HttpClient::connect(&self.url).await?.get(path).await };
        let answer = timeout(ANSWER_WITHIN, ask).await.with_context(|| path.to_owned())??;
        ensure!(answer.status == 200, "{path}: {}", answer.status);
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// The names below an object of the model; none when there is no such object.
    pub async fn names(&self, list: &str) -> Vec<String> {
        let names = self.json(&format!("/api/v1/model/{list}")).await.unwrap_or_default();
        let mut names: Vec<String> = serde_json::from_value(names).unwrap_or_default();
        names.sort();
        names
    }

    /// A whole series of the model, the oldest first.
    pub async fn series(&self, object: &str, metric: &str) -> anyhow::Result<Vec<Point>> {
        let path = format!("/api/v1/model/{object}/metrics/{metric}");
        let answer = self.json(&path).await?;
        let points = answer.pointer("/metrics").and_then(Value::as_array).context("no series")?;
        points
            .iter()
            .map(|point| {
                let at = point.get("timestamp").and_then(Value::as_str).context("no time")?;
                let value = point.get("value").or(point.get("floatValue"));
                Ok(Point {
                    at_ms: at.parse::<Timestamp>()?.as_millisecond(),
                    value: value.and_then(Value::as_f64).context("no value")?,
                })
            })
            .collect()
    }
}

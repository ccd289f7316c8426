//! The server's own metrics as text: OpenMetrics, and Prometheus' older format made from it.

use prometheus_client::{encoding::text::encode, registry::Registry};

/// Content type of [`openmetrics`].
pub(super) const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Content type of [`prometheus`].
pub(super) const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All of `registry` in OpenMetrics.
pub(super) fn openmetrics(registry: &Registry) -> String {
    let mut text = String::new();
    encode(&mut text, registry).expect("writing to a string cannot fail");
    text
}

/// OpenMetrics to Prometheus 0.0.4: there a counter's family has the name of its samples, which
/// ends in `_total`, and units and the end mark are not known.
pub(super) fn prometheus(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    let mut lines = openmetrics.lines().peekable();
    while let Some(line) = lines.next() {
        let is_counter = |declaration: &&str| declaration.ends_with(" counter");
        if let Some(help) = line.strip_prefix("# HELP ") {
            let counter = lines.peek().is_some_and(is_counter);
            push_family("# HELP ", help, counter, &mut text);
        } else if let Some(kind) = line.strip_prefix("# TYPE ") {
            push_family("# TYPE ", kind, is_counter(&line), &mut text);
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn push_family(keyword: &str, rest: &str, counter: bool, text: &mut String) {
    let (name, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let suffix = if counter { "_total" } else { "" };
    text.push_str(keyword);
    text.push_str(name);
    text.push_str(suffix);
    text.push(' ');
    text.push_str(rest);
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use prometheus_client::{
        metrics::{counter::Counter, gauge::Gauge},
        registry::Unit,
    };

    use super::*;

    #[test]
    fn a_counter_family_is_called_as_its_samples() {
        let (counter, gauge): (Counter, Gauge) = Default::default();
        let mut registry = Registry::default();
        registry.register_with_unit("cpu", "Time", Unit::Seconds, counter);
        registry.register("open", "Open", gauge);
        let text = openmetrics(&registry);
        assert!(text.ends_with("# EOF\n"), "{text}");
        let expected = "# HELP cpu_seconds_total Time.\n# TYPE cpu_seconds_total counter\ncpu_seconds_total 0\n\
             # HELP open Open.\n# TYPE open gauge\nopen 0\n";
        assert_eq!(prometheus(&text), expected);
    }
}

//! Documents that are written from the code: they say what the code says, or this fails.
//!
//! `TALLY_WRITE_DOCUMENTS=1 cargo test -p tally-tests --test documents` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test that breaks here has found something")]

use std::{env, fmt::Write as _, fs, path::Path};

use clap::CommandFactory;
use tally_proto::{
    catalogue::CATALOGUE,
    metric::{Kind, Source, Sum, Unit, ValueType},
};

#[test]
fn metrics() {
    let mut text = String::from(
        "# Metrics\n\nWritten from the catalogue (`proto/src/catalogue.rs`). Cumulative counters count since the \
         entity's start. *Summed to* says how far up a metric is added: from containers to their pod (where the pod \
         has no number of its own), on to the node, or to namespace and cluster. A metric whose source the kernel \
         lacks is absent, never 0.\n\n| metric | unit | kind | type | labels | summed to | source | meaning |\n\
         |---|---|---|---|---|---|---|---|\n",
    );
    for metric in &CATALOGUE {
        let source = match metric.source {
            Source::Agent => "agent".to_owned(),
            Source::RateOf(of) => format!("rate of `{of}`"),
            Source::Derived => "derived".to_owned(),
            Source::Inventory => "API server".to_owned(),
        };
        writeln!(
            text,
            "| `{}` | {} | {} | {} | {} | {} | {source} | {} |",
            metric.name,
            unit(metric.unit),
            match metric.kind {
                Kind::Gauge => "gauge",
                Kind::Cumulative => "cumulative",
            },
            match metric.value {
                ValueType::Integer => "integer",
                ValueType::Float => "float",
            },
            metric.labels.join(", "),
            match metric.sum {
                Sum::Never => "",
                Sum::Pod => "pod",
                Sum::Node => "pod, node, namespace, cluster",
                Sum::Cluster => "pod, namespace, cluster",
            },
            metric.description,
        )
        .unwrap();
    }
    check("metrics.md", &text);
}

#[test]
fn flags() {
    let mut text = String::from(
        "# Flags\n\nWritten from the programs' `--help`. A flag wins over its variable.\n",
    );
    for command in [
        tally_aggregator::settings::Flags::command(),
        tally_agent::settings::Flags::command(),
        tally_tests::swarm::arguments::Arguments::command(),
    ] {
        push_flags(&command, command.get_name(), &mut text);
    }
    check("flags.md", &text);
}

/// A table of a command's flags, and those of its subcommands.
fn push_flags(command: &clap::Command, name: &str, text: &mut String) {
    write!(text, "\n## {name}\n\n").unwrap();
    if name != command.get_name() {
        writeln!(text, "{}.\n", command.get_about().unwrap()).unwrap();
    }
    let arguments: Vec<_> = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set() && argument.get_long().is_some())
        .collect();
    if !arguments.is_empty() {
        text.push_str("| flag | variable | default | meaning |\n|---|---|---|---|\n");
    }
    for argument in arguments {
        let variable = argument.get_env().map(|name| format!("`{}`", name.to_string_lossy()));
        let defaults: Vec<_> =
            argument.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(
            text,
            "| `--{}` | {} | {} | {} |",
            argument.get_long().unwrap_or_default(),
            variable.unwrap_or_default(),
            defaults.join(" "),
            help.replace('\n', " ").replace('|', "\\|"),
        )
        .unwrap();
    }
    for subcommand in command.get_subcommands() {
        push_flags(subcommand, &format!("{name} {}", subcommand.get_name()), text);
    }
}

fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count => "",
        Unit::Bytes => "bytes",
        Unit::Milliseconds => "ms",
        Unit::Nanoseconds => "ns",
        Unit::Millicores => "millicores",
        Unit::PerSecond => "per second",
        Unit::Ratio => "ratio",
    }
}

#[track_caller]
fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs").join(name);
    if env::var_os("TALLY_WRITE_DOCUMENTS").is_some() {
        fs::write(&path, text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == text,
        "docs/{name} is not what the code says: \
         TALLY_WRITE_DOCUMENTS=1 cargo test -p tally-tests --test documents"
    );
}

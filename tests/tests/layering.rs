//! Which module may name which. The table is the architecture; a line of code that breaks it
//! fails here with its place.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that breaks here has found something"
)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Layers of a package, lowest first. A module may name modules of lower layers and of its own.
struct Package {
    folder: &'static str,
    layers: &'static [&'static [&'static str]],
    /// Modules that know no file, socket, clock or task.
    pure: &'static [&'static str],
}

const PACKAGES: &[Package] = &[
    Package {
        folder: "proto",
        layers: &[
            &["codec", "limits"],
            &["wire"],
            &["name", "tick", "rate"],
            &["metric", "entity"],
            &["catalogue", "declaration"],
            &["columns", "message", "record"],
            &["encode", "decode"],
        ],
        pure: &[
            "limits",
            "name",
            "tick",
            "rate",
            "metric",
            "entity",
            "catalogue",
            "declaration",
            "columns",
            "message",
            "record",
            "encode",
            "decode",
        ],
    },
    Package {
        folder: "aggregator",
        layers: &[
            &[
                "clock",
                "declared",
                "history_dir",
                "inventory",
                "percent",
                "telemetry",
                "self_metrics",
            ],
            &["callers", "tls"],
            &["roster"],
            &["schema"],
            &["admission", "point"],
            &["rollup"],
            &["recipe"],
            &["history", "model"],
            &["journal"],
            &["archive"],
            &["query", "ingest", "history_command", "kubernetes"],
            &["settings"],
            &["rest"],
            &["app"],
            &["main"],
        ],
        pure: &[
            "declared",
            "history_dir",
            "inventory",
            "percent",
            "callers",
            "roster",
            "schema",
            "history",
            "admission",
            "rollup",
            "point",
            "recipe",
            "journal",
            "archive",
            "model",
            "query",
        ],
    },
    Package {
        folder: "agent",
        layers: &[
            &["backoff", "counters", "identity", "parse", "schedule", "telemetry"],
            &["meanings", "columns", "host", "names", "reading"],
            &["assemble", "disk_usage", "handover", "inquiry"],
            &["cgroup"],
            &["network", "node", "own_cost"],
            &["sampler"],
            &["once", "outbox", "runtimes", "volumes"],
            &["spool"],
            &["backlog", "folder"],
            &["settings"],
            &["uplink"],
            &["app"],
            &["main"],
        ],
        pure: &[
            "backoff", "identity", "parse", "schedule", "assemble", "outbox", "meanings", "names",
            "spool", "backlog",
        ],
    },
];

/// What pure code does not name.
const IMPURE: &[&str] = &[
    "std::fs",
    "std::net",
    "std::process",
    "std::env",
    "tokio::",
    "tonic::",
    "axum::",
    "rustix::",
    "Instant::now",
    "SystemTime::now",
    "std::thread",
];

/// Files of pure modules that are a thin edge, and so may name it.
const EDGES: &[&str] =
    &["aggregator/src/history/disk/real.rs", "aggregator/src/history/disk/read_only.rs"];

/// Parts of modules with an edge that know no file, socket, clock or task either.
const PURE_PARTS: &[&str] = &[
    "aggregator/src/rest/metrics_api/discovery.rs",
    "aggregator/src/rest/metrics_api/document.rs",
    "aggregator/src/rest/metrics_api/fields.rs",
    "aggregator/src/rest/metrics_api/json.rs",
    "aggregator/src/rest/metrics_api/media.rs",
    "aggregator/src/rest/metrics_api/objects.rs",
    "aggregator/src/rest/metrics_api/openapi.rs",
    "aggregator/src/rest/metrics_api/openapi_protobuf.rs",
    "aggregator/src/rest/metrics_api/protobuf.rs",
    "aggregator/src/rest/metrics_api/quantity.rs",
    "aggregator/src/rest/metrics_api/route.rs",
    "aggregator/src/rest/metrics_api/status.rs",
    "aggregator/src/rest/metrics_api/table.rs",
    "aggregator/src/rest/metrics_api/yaml.rs",
];

/// What REST does not name: it asks queries, whatever they are answered from.
const PIPELINE: &[&str] = &[
    "admission",
    "declared",
    "ingest",
    "inventory",
    "journal",
    "kubernetes",
    "model",
    "recipe",
    "rollup",
    "roster",
    "schema",
];

/// Who lets callers in asks the API server about them, which answers nothing of what is measured.
const ASKS_ABOUT_CALLERS: (&str, &str) = ("aggregator/src/rest/guard.rs", "kubernetes");

/// The only modules that name generated types: the two translators and the gRPC edges.
const NAMES_WIRE: &[&str] = &[
    "proto/src/encode.rs",
    "proto/src/decode.rs",
    "agent/src/uplink",
    "aggregator/src/ingest",
    "aggregator/src/app",
];

#[test]
fn modules_name_only_what_is_below_them() {
    let mut faults = Vec::new();
    for package in PACKAGES {
        let layer_of: BTreeMap<&str, usize> = (0..)
            .zip(package.layers)
            .flat_map(|(height, layer)| layer.iter().map(move |module| (*module, height)))
            .collect();
        for source in sources(package.folder) {
            let module = module_of(&source, package.folder);
            if module == "lib" {
                continue;
            }
            let Some(height) = layer_of.get(module.as_str()) else {
                faults.push(format!("{}: module {module} is in no layer", source.display()));
                continue;
            };
            for (line, named) in production(&source).iter().flat_map(|(line, text)| {
                named_modules(text).into_iter().map(move |named| (line, named))
            }) {
                if layer_of.get(named.as_str()).is_some_and(|other| height < other) {
                    faults.push(format!("{}:{line}: names {named}, above it", source.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn pure_modules_name_no_file_socket_clock_or_task() {
    let mut faults = Vec::new();
    for package in PACKAGES {
        for source in sources(package.folder) {
            let is_edge = EDGES.iter().any(|edge| source.ends_with(edge));
            let is_part = PURE_PARTS.iter().any(|part| source.ends_with(part));
            let is_pure = package.pure.contains(&module_of(&source, package.folder).as_str());
            if is_edge || !(is_pure || is_part) {
                continue;
            }
            for (line, text) in production(&source) {
                if let Some(named) = IMPURE.iter().find(|word| text.contains(**word)) {
                    faults.push(format!("{}:{line}: names {named}", source.display()));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn every_pure_part_is_there() {
    for part in PURE_PARTS {
        assert!(root().join(part).exists(), "{part}");
    }
}

#[test]
fn rest_names_queries_and_not_the_pipeline() {
    let mut faults = Vec::new();
    for source in sources("aggregator") {
        if module_of(&source, "aggregator") != "rest" {
            continue;
        }
        for (line, text) in production(&source) {
            let mut named = named_modules(&text).into_iter();
            let (guard, asked) = ASKS_ABOUT_CALLERS;
            let may = |named: &str| named == asked && source.ends_with(guard);
            if let Some(named) = named.find(|named| PIPELINE.contains(&&**named) && !may(named)) {
                faults.push(format!("{}:{line}: names {named}", source.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn only_the_edges_name_generated_types() {
    let mut faults = Vec::new();
    for package in PACKAGES {
        for source in sources(package.folder) {
            let place = source.strip_prefix(root()).unwrap().display().to_string();
            if NAMES_WIRE.iter().any(|edge| place.starts_with(edge)) {
                continue;
            }
            for (line, text) in production(&source) {
                if text.contains("wire::") {
                    faults.push(format!("{place}:{line}: {text}"));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn agent_and_aggregator_never_see_each_other() {
    for (folder, other) in [("agent", "tally_aggregator"), ("aggregator", "tally_agent")] {
        for source in sources(folder) {
            let text = fs::read_to_string(&source).unwrap();
            assert!(!text.contains(other), "{} names {other}", source.display());
        }
        let manifest = fs::read_to_string(root().join(folder).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains(&other.replace('_', "-")), "{folder}/Cargo.toml names {other}");
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "{folder} has no sources");
    found.sort();
    found
}

/// The first folder or file below `src`.
fn module_of(source: &Path, folder: &str) -> String {
    let inside = source.strip_prefix(root().join(folder).join("src")).unwrap();
    let first = inside.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
    first.strip_suffix(".rs").map(str::to_owned).unwrap_or(first)
}

/// The numbered lines of a file before its tests; test files have none.
fn production(source: &Path) -> Vec<(usize, String)> {
    let is_test = source.file_stem().is_some_and(|stem| stem == "tests" || stem == "loopback");
    let text = if is_test { String::new() } else { fs::read_to_string(source).unwrap() };
    (1..)
        .zip(text.lines().map(str::to_owned))
        .take_while(|(_, line)| !line.starts_with("#[cfg(test)]"))
        .filter(|(_, line)| !line.trim_start().starts_with("//"))
        .collect()
}

/// The modules that a line names: `crate::a::…`, or `a::…` in a grouped import of `crate`.
fn named_modules(line: &str) -> Vec<String> {
    let after = |rest: &str| -> String {
        rest.chars().take_while(|c| c.is_ascii_lowercase() || *c == '_').collect()
    };
    let mut named: Vec<String> =
        line.match_indices("crate::").map(|(at, word)| after(&line[at + word.len()..])).collect();
    // A line of a grouped import is one module and what is taken from it.
    if line.starts_with("    ") && !line.starts_with("     ") && line.contains("::") {
        let word = after(line.trim_start());
        if line.trim_start()[word.len()..].starts_with("::") {
            named.push(word);
        }
    }
    named.retain(|word| !word.is_empty());
    named
}

#[test]
fn the_reader_of_lines_sees_what_it_must() {
    assert_eq!(named_modules("use crate::model::Model;"), ["model"]);
    assert_eq!(named_modules("    rollup::{Sums, Plan},"), ["rollup"]);
    assert_eq!(named_modules("        let x = crate::rest::serve();"), ["rest"]);
    assert!(named_modules("    let model = 5;").is_empty());
}

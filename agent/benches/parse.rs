//! What parsing the files of one container costs, on the texts of a captured host.
//!
//! `cargo bench -p tally-agent --bench parse`

use std::{error::Error, fs, hint::black_box, path::Path};

use criterion::{Criterion, criterion_group, criterion_main};
use tally_agent::parse::{
    cpu_stat_v1, cpu_stat_v2, io_stat_v2, memory_stat_v1, memory_stat_v2, net_dev, pressure,
};

/// The first text of a captured host whose path ends so and that is at least so long.
fn text(host: &str, ending: &str, least: usize) -> Result<Vec<u8>, Box<dyn Error>> {
    let hosts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/hosts");
    let captured = fs::read_to_string(hosts.join(format!("{host}.txtar")))?;
    let mut files = captured.split("\n-- ").filter_map(|file| file.split_once(" --\n"));
    let found = files.find(|(path, text)| path.ends_with(ending) && least <= text.len());
    let (_, text) = found.ok_or_else(|| format!("{host} has no {ending}"))?;
    Ok(format!("{text}\n").into_bytes())
}

fn all(criterion: &mut Criterion) -> Result<(), Box<dyn Error>> {
    let (v2, v1) = ("6.1-v2-docker", "5.10-v1-docker");
    let memory_v2 = text(v2, "/memory.stat", 500)?;
    criterion.bench_function("memory.stat v2", |bench| {
        bench.iter(|| memory_stat_v2::parse(black_box(&memory_v2)));
    });
    let memory_v1 = text(v1, "/memory.stat", 500)?;
    criterion.bench_function("memory.stat v1", |bench| {
        bench.iter(|| memory_stat_v1::parse(black_box(&memory_v1)));
    });
    let cpu_v2 = text(v2, "/cpu.stat", 50)?;
    criterion.bench_function("cpu.stat v2", |bench| {
        bench.iter(|| cpu_stat_v2::parse(black_box(&cpu_v2)));
    });
    let cpu_v1 = text(v1, "/cpu.stat", 20)?;
    criterion.bench_function("cpu.stat v1", |bench| {
        bench.iter(|| cpu_stat_v1::parse(black_box(&cpu_v1)));
    });
    let io = text(v2, "/io.stat", 20)?;
    criterion.bench_function("io.stat v2", |bench| {
        bench.iter(|| {
            io_stat_v2::each(black_box(&io), |number, io| {
                black_box((number, io));
            })
        });
    });
    let waiting = text(v2, "/memory.pressure", 50)?;
    criterion.bench_function("pressure", |bench| {
        bench.iter(|| pressure::parse(black_box(&waiting)));
    });
    let network = text(v2, "/net/dev", 200)?;
    criterion.bench_function("net/dev", |bench| {
        bench.iter(|| {
            net_dev::each(black_box(&network), |interface| {
                black_box(interface);
            })
        });
    });
    Ok(())
}

fn parse(criterion: &mut Criterion) {
    all(criterion).expect("the captured hosts are in tests/hosts");
}

criterion_group!(benches, parse);
criterion_main!(benches);

//! What a directory holds, as text for people: at most 100 columns wide.

use super::inspect::{OfFile, OfTier, Report};

/// Names of a kind that are shown; more are counted.
const NAMES_SHOWN: usize = 5;

/// The whole text.
pub(super) fn text(report: &Report) -> String {
    let mut text = format!("history in {}", report.directory);
    match report.in_use_by {
        Some(process) => text.push_str(&format!(", in use by process {process}\n\n")),
        None => text.push_str(", not in use\n\n"),
    }
    tiers(report, &mut text);
    if let Some(files) = &report.files {
        text.push('\n');
        self::files(files, &mut text);
    }
    let kinds = [
        ("damaged (see history verify)", &report.faults),
        ("replaced by a merged file", &report.replaced),
        ("being written, or left by a crash", &report.unfinished),
        ("none of history's", &report.others),
    ];
    for (kind, names) in kinds.into_iter().filter(|(_, names)| !names.is_empty()) {
        text.push_str(&format!("\n{kind}: {}\n", names.len()));
        for name in names.iter().take(NAMES_SHOWN) {
            text.push_str(&format!("  {name}\n"));
        }
        if NAMES_SHOWN < names.len() {
            text.push_str("  ...\n");
        }
    }
    text
}

/// A line each for what is known, a column each for the tiers.
fn tiers(report: &Report, text: &mut String) {
    type Cell = fn(&OfTier) -> String;
    let lines: [(&str, Cell); 11] = [
        ("", |tier| tier.tier.to_owned()),
        ("files", |tier| tier.files.to_string()),
        ("size", |tier| bytes(tier.bytes)),
        ("days", |tier| tier.days.to_string()),
        ("first", |tier| tier.first.clone().unwrap_or_else(none)),
        ("last", |tier| tier.last.clone().unwrap_or_else(none)),
        ("samples", |tier| grouped(tier.samples)),
        ("bytes a sample", |tier| {
            tier.bytes_per_sample.map_or_else(none, |each| format!("{each:.3}"))
        }),
        ("entities", |tier| grouped(tier.entities)),
        ("with restarts", |tier| grouped(tier.rows)),
        ("series", |tier| grouped(tier.series)),
    ];
    for (head, cell) in lines {
        let mut line = format!("{head:14}");
        for tier in &report.tiers {
            line.push_str(&format!("  {:>20}", cell(tier)));
        }
        text.push_str(&line);
        text.push('\n');
    }
    if 0 < report.journal.files {
        let (files, size) = (report.journal.files, bytes(report.journal.bytes));
        text.push_str(&format!("\njournal: {files} files, {size}\n"));
    }
    if report.tiers.iter().skip(1).any(|tier| 0 < tier.files) {
        text.push_str("\nA sample of 5m and 1h is a bucket: count, min, max, sum and sketch.\n");
    }
}

fn files(files: &[OfFile], text: &mut String) {
    let line = |cells: [&str; 6]| {
        let [name, size, samples, rows, first, last] = cells;
        format!("{name:42} {size:>10} {samples:>9} {rows:>6} {first:>20} {last:>8}\n")
    };
    text.push_str(&line(["file", "size", "samples", "rows", "first", "last"]));
    for file in files {
        let (size, samples) = (bytes(file.bytes), file.samples.to_string());
        let first = file.first.clone().unwrap_or_else(none);
        // A file is of one day, which is said once.
        let last = file.last.as_deref().and_then(|last| last.split_once('T'));
        let last = last.map_or("-", |(_, of_day)| of_day.trim_end_matches('Z'));
        text.push_str(&line([&file.name, &size, &samples, &file.rows.to_string(), &first, last]));
    }
}

fn none() -> String {
    "-".to_owned()
}

/// Bytes with a unit that suits them.
#[expect(clippy::as_conversions, reason = "figures for people")]
pub(super) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut size = count as f64;
    let mut unit = "B";
    for larger in units {
        if size < 1024.0 {
            break;
        }
        (size, unit) = (size / 1024.0, larger);
    }
    if unit == "B" { format!("{count} B") } else { format!("{size:.1} {unit}") }
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place != 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_the_unit_that_suits_them() {
        let sizes = [0, 1023, 1024, 5 << 20, 3 << 40].map(bytes);
        assert_eq!(sizes, ["0 B", "1023 B", "1.0 KiB", "5.0 MiB", "3.0 TiB"]);
    }

    #[test]
    fn numbers_are_in_groups_of_three() {
        let numbers = [0, 999, 1000, 1_234_567].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,234,567"]);
    }
}

//! The figures as one table.

use std::fmt::Write as _;

use super::{Answers, Taken, Timed};

/// A row before it is text.
#[derive(Clone, Debug)]
pub struct Line {
    /// Which samples.
    pub data: String,
    /// How many they were.
    pub samples: u64,
    /// Which store.
    pub store: &'static str,
    /// What it took; only answers count where nothing was written.
    pub taken: Taken,
}

/// The table, in Markdown.
pub fn table(lines: &[Line]) -> String {
    let mut text = String::from(
        "| data | store | bytes a sample | samples a CPU second | one bucket | by the hour |\n\
         |---|---|---|---|---|---|\n",
    );
    for line in lines {
        let Line { data, samples, store, taken } = line;
        let answer = |which: fn(&Answers) -> &Timed| {
            taken.answers.as_ref().map_or_else(String::new, |all| format!("{:.2} ms", which(all).1))
        };
        let (whole, hourly) = (answer(|all| &all.whole), answer(|all| &all.hourly));
        let (bytes, rate) = (bytes(taken, *samples), rate(taken, *samples));
        // Writing to a string can't fail.
        let _done = writeln!(text, "| {data} | {store} | {bytes} | {rate} | {whole} | {hourly} |");
    }
    text
}

#[expect(clippy::as_conversions, reason = "figures for people")]
fn bytes(taken: &Taken, samples: u64) -> String {
    let each = |bytes: u64| bytes as f64 / samples as f64;
    match (taken.bytes, taken.tier_bytes) {
        (0, _) => String::new(),
        (bytes, 0) => format!("{:.3}", each(bytes)),
        (bytes, tiers) => format!("{:.3}, with tiers {:.3}", each(bytes), each(bytes + tiers)),
    }
}

#[expect(clippy::as_conversions, reason = "figures for people")]
fn rate(taken: &Taken, samples: u64) -> String {
    match taken.cpu_ns {
        0 => String::new(),
        ns => format!("{:.2} M", samples as f64 * 1e3 / ns as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(taken: Taken, expected: &str) {
        let line = Line { data: "d".to_owned(), samples: 1000, store: "s", taken };
        let text = table(&[line]);
        assert_eq!(text.lines().last(), Some(expected));
    }

    #[test]
    fn what_was_not_measured_is_left_empty() {
        let taken = Taken { bytes: 250, cpu_ns: 500_000, ..Taken::default() };
        check(taken.clone(), "| d | s | 0.250 | 2.00 M |  |  |");
        check(
            Taken { tier_bytes: 50, ..taken },
            "| d | s | 0.250, with tiers 0.300 | 2.00 M |  |  |",
        );
        let (whole, hourly) = ((Vec::new(), 1.0), (Vec::new(), 2.345));
        let answers = Some(Answers { whole, hourly });
        check(Taken { answers, ..Taken::default() }, "| d | s |  |  | 1.00 ms | 2.35 ms |");
    }
}

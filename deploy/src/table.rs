//! The table that a person watches: nodes, namespaces and the busiest containers. Pure: numbers
//! in, lines out, none of them wider and no more of them than the terminal has room for.

use std::collections::BTreeSet;

/// Containers shown where the terminal has room for more: nobody reads further down.
const BUSIEST: usize = 40;
/// Containers in the summary of one line.
const SUMMED_UP: usize = 3;
/// Wider than this, a number is too far from its name.
const COLUMNS_MOST: usize = 160;
/// Characters of a name below which a column of numbers is left out instead.
const NAME_LEAST: usize = 20;
/// Digits of a container's id; docker too shows its first twelve.
const ID_DIGITS: usize = 64;
const ID_DIGITS_SHOWN: usize = 12;

/// How much room a terminal has, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size {
    /// Its width.
    pub(crate) columns: usize,
    /// Its height.
    pub(crate) rows: usize,
}

/// What a line says. Absent numbers are shown as such.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Line {
    /// What it is about.
    pub(crate) name: String,
    /// CPU in thousandths of a core.
    pub(crate) cpu_millicores: Option<i64>,
    /// Memory that the kernel can't easily take back, in bytes.
    pub(crate) working_set_bytes: Option<i64>,
    /// Bytes received each second.
    pub(crate) received_per_s: Option<f64>,
    /// Bytes sent each second.
    pub(crate) sent_per_s: Option<f64>,
    /// Threads.
    pub(crate) threads: Option<i64>,
}

/// All that is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Table {
    /// One line a node.
    pub(crate) nodes: Vec<Line>,
    /// One line a namespace; none without Kubernetes.
    pub(crate) namespaces: Vec<Line>,
    /// Every container, of pods and free ones.
    pub(crate) containers: Vec<Line>,
}

/// A column of numbers.
struct Column {
    heading: &'static str,
    width: usize,
    number: fn(&Line) -> Option<String>,
}

/// The most telling first: narrow terminals have no room for the last ones.
const COLUMNS: [Column; 5] = [
    Column { heading: "CPU", width: 8, number: |line| line.cpu_millicores.map(millicores) },
    Column { heading: "MEMORY", width: 11, number: |line| line.working_set_bytes.map(bytes) },
    Column { heading: "RECEIVED/s", width: 12, number: |line| line.received_per_s.map(whole) },
    Column { heading: "SENT/s", width: 12, number: |line| line.sent_per_s.map(whole) },
    Column { heading: "THREADS", width: 9, number: |line| line.threads.map(|n| n.to_string()) },
];

/// How the room is shared out among a name and its numbers.
struct Layout {
    name: usize,
    numbers: &'static [Column],
}

impl Layout {
    fn of(columns: usize) -> Self {
        let columns = columns.min(COLUMNS_MOST);
        // Received without sent would be half of something.
        for count in [5, 4, 2, 1] {
            let numbers = COLUMNS.get(..count).unwrap_or_default();
            let width: usize = numbers.iter().map(|column| column.width).sum();
            if width + NAME_LEAST <= columns {
                return Self { name: columns - width, numbers };
            }
        }
        Self { name: columns, numbers: &[] }
    }

    fn heading(&self, title: &str) -> String {
        self.row(title, |column| column.heading.to_owned())
    }

    fn line(&self, line: &Line) -> String {
        let number = |column: &Column| (column.number)(line).unwrap_or_else(|| "-".to_owned());
        self.row(&shortened(&with_short_ids(&line.name), self.name), number)
    }

    fn row(&self, name: &str, number: impl Fn(&Column) -> String) -> String {
        let name: String = name.chars().take(self.name).collect();
        let numbers = self.numbers.iter().map(|column| {
            let width = column.width;
            format!("{:>width$}", number(column))
        });
        format!("{name:<width$}{}", numbers.collect::<String>(), width = self.name)
            .trim_end()
            .to_owned()
    }
}

/// The table as lines: at most so many, and none wider.
pub(crate) fn render(table: &Table, size: Size) -> Vec<String> {
    let layout = Layout::of(size.columns);
    let quarter = (size.rows / 4).max(1);
    let mut lines = section(&layout, "NODE", busiest(&table.nodes).take(quarter));
    if !table.namespaces.is_empty() {
        lines.push(String::new());
        let namespaces = busiest(&table.namespaces).take(quarter);
        lines.extend(section(&layout, "NAMESPACE", namespaces));
    }
    let containers = without_parents(&table.containers);
    let room = size.rows.saturating_sub(lines.len() + 2).min(BUSIEST);
    let title = match containers.len() {
        count if room < count => format!("BUSIEST OF {count} CONTAINERS"),
        count => format!("{count} CONTAINERS"),
    };
    lines.push(String::new());
    lines.extend(section(&layout, &title, busiest(containers).take(room)));
    lines.truncate(size.rows);
    lines
}

/// The same in one line, for a log.
pub(crate) fn summary(table: &Table) -> String {
    let says = |line: &Line| {
        let cpu = line.cpu_millicores.map_or_else(|| "-".to_owned(), millicores);
        let memory = line.working_set_bytes.map_or_else(|| "-".to_owned(), bytes);
        format!("{} {cpu} {memory}", with_short_ids(&line.name))
    };
    let nodes: Vec<String> = table.nodes.iter().map(says).collect();
    let containers = without_parents(&table.containers);
    let count = containers.len();
    let first: Vec<String> = busiest(containers).take(SUMMED_UP).map(says).collect();
    format!("{}; busiest of {count} containers: {}", nodes.join(", "), first.join(", "))
}

fn section<'a>(layout: &Layout, title: &str, lines: impl Iterator<Item = &'a Line>) -> Vec<String> {
    std::iter::once(layout.heading(title)).chain(lines.map(|line| layout.line(line))).collect()
}

/// Most CPU first, then most memory.
fn busiest<'a>(lines: impl IntoIterator<Item = &'a Line>) -> impl Iterator<Item = &'a Line> {
    let mut sorted: Vec<&Line> = lines.into_iter().collect();
    sorted.sort_by(|a, b| {
        let of = |line: &Line| (line.cpu_millicores, line.working_set_bytes);
        of(b).cmp(&of(a)).then_with(|| a.name.cmp(&b.name))
    });
    sorted.into_iter()
}

/// Slices and other mere parents say once more what their children say, and would always be the
/// busiest. One with interfaces of its own, such as a pod without a name, says more than they.
fn without_parents(lines: &[Line]) -> Vec<&Line> {
    let names: BTreeSet<&str> = lines.iter().map(|line| &*line.name).collect();
    let is_parent = |line: &&Line| {
        let below = format!("{}/", line.name);
        let first = names.range(&*below..).next();
        line.received_per_s.is_none() && first.is_some_and(|name| name.starts_with(&below))
    };
    lines.iter().filter(|line| !is_parent(line)).collect()
}

/// Ids as short as people know them from their runtimes.
fn with_short_ids(name: &str) -> String {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let mut short = String::new();
    let mut rest = name;
    while let Some(first) = rest.chars().next() {
        let run = rest.bytes().take_while(|byte| is_digit(*byte)).count();
        let (taken, shown) = match run {
            ID_DIGITS => (ID_DIGITS, ID_DIGITS_SHOWN),
            0 => (first.len_utf8(), first.len_utf8()),
            _ => (run, run),
        };
        short.push_str(rest.get(..shown).unwrap_or_default());
        rest = rest.get(taken..).unwrap_or_default();
    }
    short
}

/// The end of a cgroup path says more than its beginning.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    let room = width.saturating_sub(1);
    if length <= room || room == 0 {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length + 1 - room).collect();
    format!("…{end}")
}

fn millicores(amount: i64) -> String {
    format!("{amount}m")
}

fn bytes(amount: i64) -> String {
    let mut whole = amount.unsigned_abs();
    let mut tenths = 0;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if whole < 1024 {
            break;
        }
        tenths = whole % 1024 * 10 / 1024;
        whole /= 1024;
        unit = next;
    }
    if unit == "B" { format!("{whole} B") } else { format!("{whole}.{tenths} {unit}") }
}

#[expect(clippy::as_conversions, reason = "shown to one digit")]
fn whole(rate: f64) -> String {
    bytes(rate as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0f3c2d1e4b5a69788796a5b4c3d2e1f00f3c2d1e4b5a69788796a5b4c3d2e1f0";

    fn line(name: &str, cpu: Option<i64>) -> Line {
        Line { name: name.to_owned(), cpu_millicores: cpu, ..Line::default() }
    }

    fn containers(names: &[&str]) -> Table {
        let containers = names.iter().map(|name| line(name, None)).collect();
        Table { containers, ..Table::default() }
    }

    /// A table with much of everything, and the longest numbers.
    fn full() -> Table {
        let line = |number: usize| Line {
            name: format!("/system.slice/a-very-long-name-{number}/docker/{ID}"),
            cpu_millicores: Some(128_000),
            working_set_bytes: Some((1 << 50) - 1),
            received_per_s: Some(1_048_000.0),
            sent_per_s: None,
            threads: Some(4_194_304),
        };
        let lines: Vec<Line> = (0..100).map(line).collect();
        Table { nodes: lines.clone(), namespaces: lines.clone(), containers: lines }
    }

    fn names(lines: &[String]) -> Vec<&str> {
        lines.iter().filter_map(|line| line.split_whitespace().next()).collect()
    }

    #[test]
    fn the_busiest_come_first_and_absent_is_no_number() {
        let containers = vec![line("idle", Some(0)), line("burn", Some(250)), line("new", None)];
        let table = Table { containers, ..Table::default() };
        let lines = render(&table, Size { columns: 80, rows: 24 });
        assert_eq!(names(&lines), ["NODE", "3", "burn", "idle", "new"]);
        assert!(lines.last().unwrap().ends_with("       -"), "{lines:?}");
        let lines = render(&table, Size { columns: 80, rows: 5 });
        assert_eq!(names(&lines), ["NODE", "BUSIEST", "burn", "idle"]);
    }

    #[test]
    fn no_line_is_wider_and_no_table_higher_than_the_terminal() {
        for columns in 1..250 {
            for rows in [1, 2, 5, 10, 24, 60] {
                let lines = render(&full(), Size { columns, rows });
                assert!(lines.len() <= rows, "{columns}x{rows}: {}", lines.len());
                for line in &lines {
                    assert!(line.chars().count() <= columns, "{columns}x{rows}: {line}");
                }
            }
        }
    }

    #[test]
    fn a_narrow_terminal_shows_fewer_columns() {
        for (columns, headings) in [
            (72, "NODE CPU MEMORY RECEIVED/s SENT/s THREADS"),
            (71, "NODE CPU MEMORY RECEIVED/s SENT/s"),
            (50, "NODE CPU MEMORY"),
            (38, "NODE CPU"),
            (20, "NODE"),
        ] {
            let lines = render(&full(), Size { columns, rows: 24 });
            let words: Vec<&str> = lines[0].split_whitespace().collect();
            assert_eq!(words.join(" "), headings, "{columns}");
        }
    }

    #[test]
    fn a_mere_parent_is_left_out_unless_it_has_interfaces_of_its_own() {
        let mut table = containers(&["/a", "/a-b", "/a/c", "/pod", "/pod/c"]);
        table.containers[3].received_per_s = Some(1.0);
        let lines = render(&table, Size { columns: 80, rows: 24 });
        assert_eq!(names(&lines), ["NODE", "4", "/a-b", "/a/c", "/pod", "/pod/c"]);
    }

    #[test]
    fn ids_are_as_short_as_docker_shows_them() {
        for (name, shown) in [
            (format!("/docker/{ID}"), "/docker/0f3c2d1e4b5a"),
            (format!("/system.slice/docker-{ID}.scope"), "/system.slice/docker-0f3c2d1e4b5a.scope"),
            (format!("/a/{ID}0"), &*format!("/a/{ID}0")),
            ("/deadbeef/ä".to_owned(), "/deadbeef/ä"),
        ] {
            assert_eq!(with_short_ids(&name), shown);
        }
    }

    #[test]
    fn a_summary_is_one_line() {
        let table = Table {
            nodes: vec![Line { working_set_bytes: Some(5 << 30), ..line("vm", Some(900)) }],
            containers: vec![line("/a", Some(1)), line("/b", Some(2))],
            ..Table::default()
        };
        let expected = "vm 900m 5.0 GiB; busiest of 2 containers: /b 2m -, /a 1m -";
        assert_eq!(summary(&table), expected);
    }

    #[test]
    fn amounts_have_one_digit_and_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(whole(2048.9), "2.0 KiB");
    }
}

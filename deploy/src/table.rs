//! The table that a person watches: nodes, namespaces and the busiest containers. Pure: numbers
//! in, text out.

/// Containers shown: what fits beside the rest on a small terminal.
const BUSIEST: usize = 10;
/// Namespaces shown; a host has few.
const NAMESPACES: usize = 8;
/// Narrower than this, names would be cut to nothing.
const COLUMNS_LEAST: usize = 50;
/// Wider than this, a number is too far from its name.
const COLUMNS_MOST: usize = 160;
/// Width of the five columns of numbers.
const NUMBERS: usize = 50;

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

/// The table as lines of at most `columns` characters.
pub(crate) fn render(table: &Table, columns: usize) -> String {
    let name = columns.clamp(COLUMNS_LEAST + NUMBERS, COLUMNS_MOST) - NUMBERS;
    let mut out = String::new();
    section(&mut out, "NODE", name, table.nodes.iter());
    if !table.namespaces.is_empty() {
        section(&mut out, "NAMESPACE", name, busiest(&table.namespaces).take(NAMESPACES));
    }
    let title = format!("BUSIEST OF {} CONTAINERS", table.containers.len());
    section(&mut out, &title, name, busiest(&table.containers).take(BUSIEST));
    out
}

/// Most CPU first, then most memory.
fn busiest(lines: &[Line]) -> impl Iterator<Item = &Line> {
    let mut sorted: Vec<&Line> = lines.iter().collect();
    sorted.sort_by_key(|line| std::cmp::Reverse((line.cpu_millicores, line.working_set_bytes)));
    sorted.into_iter()
}

fn section<'a>(out: &mut String, title: &str, width: usize, lines: impl Iterator<Item = &'a Line>) {
    row(out, width, title, ["CPU", "MEMORY", "RECEIVED", "SENT", "THREADS"]);
    for line in lines {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let numbers = [
            or_dash(line.cpu_millicores.map(|cpu| format!("{cpu}m"))),
            or_dash(line.working_set_bytes.map(bytes)),
            or_dash(line.received_per_s.map(bytes_per_second)),
            or_dash(line.sent_per_s.map(bytes_per_second)),
            or_dash(line.threads.map(|threads| threads.to_string())),
        ];
        row(out, width, &shortened(&line.name, width), numbers.each_ref().map(String::as_str));
    }
    out.push('\n');
}

fn row(out: &mut String, width: usize, name: &str, numbers: [&str; 5]) {
    let [cpu, memory, received, sent, threads] = numbers;
    let line = format!("{name:<width$}{cpu:>9}{memory:>11}{received:>11}{sent:>11}{threads:>8}\n");
    out.push_str(&line);
}

/// The end of a cgroup path says more than its beginning.
fn shortened(name: &str, width: usize) -> String {
    let length = name.chars().count();
    let room = width.saturating_sub(1);
    if length <= room {
        return name.to_owned();
    }
    let end: String = name.chars().skip(length + 1 - room).collect();
    format!("…{end}")
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
fn bytes_per_second(rate: f64) -> String {
    format!("{}/s", bytes(rate as i64).replace("iB", ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(name: &str, cpu: Option<i64>) -> Line {
        Line { name: name.to_owned(), cpu_millicores: cpu, ..Line::default() }
    }

    #[test]
    fn the_busiest_come_first_and_absent_is_no_number() {
        let containers = vec![line("idle", Some(0)), line("burn", Some(250)), line("new", None)];
        let text = render(&Table { containers, ..Table::default() }, 100);
        let names: Vec<&str> =
            text.lines().skip(3).filter_map(|line| line.split_whitespace().next()).collect();
        assert_eq!(names, ["burn", "idle", "new"]);
        assert!(text.contains("new  "), "{text}");
        assert!(!text.contains("NAMESPACE"));
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let nodes = vec![line(&"/system.slice/a".repeat(30), Some(1))];
        let text = render(&Table { nodes, ..Table::default() }, 100);
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    }

    #[test]
    fn amounts_have_one_digit_and_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes(5 << 30), "5.0 GiB");
        assert_eq!(bytes_per_second(2048.9), "2.0 K/s");
    }
}

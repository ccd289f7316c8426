//! The terminal while the table is on it: a screen of its own, and the one before when it ends.

use std::{
    io::{self, Write as _},
    path::Path,
};

use tally_proto::tick::Resolution;

use crate::table::{Size, Table, render};

/// Where the terminal does not say how large it is: as large as terminals always were.
const SIZE_DEFAULT: Size = Size { columns: 80, rows: 24 };

/// Lower than this, the URLs leave their place to the table.
const ROWS_WITH_URLS: usize = 14;

/// Opens the terminal's second screen without a cursor, and leaves it.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";
/// Moves to the upper left corner.
const HOME: &str = "\x1b[H";
/// Clears from here to the end of the line, or of the screen.
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// The terminal; dropping it gives it back as it was.
pub(super) struct Screen(());

/// What is shown at one moment.
pub(super) struct Frame<'a> {
    /// The numbers.
    pub(super) table: &'a Table,
    /// Time between two readings.
    pub(super) resolution: Resolution,
    /// What to try.
    pub(super) urls: &'a [String],
    /// Where the log goes meanwhile.
    pub(super) log: &'a Path,
}

impl Screen {
    pub(super) fn open() -> io::Result<Self> {
        write(OPEN)?;
        Ok(Self(()))
    }

    /// Draws over the picture before, without flicker.
    pub(super) fn draw(&mut self, frame: &Frame<'_>) -> io::Result<()> {
        write(&drawn(&frame.lines(size())))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that went away needs nothing back.
        drop(write(CLOSE));
    }
}

impl Frame<'_> {
    /// Title and URLs, the table, and where the log is: as much as there is room for.
    fn lines(&self, size: Size) -> Vec<String> {
        let mut lines =
            vec![format!("tally reads this host every {}. Ctrl-C ends it.", self.resolution)];
        if ROWS_WITH_URLS <= size.rows {
            lines.extend(self.urls.iter().cloned());
            lines.push(String::new());
        }
        let foot = format!("Log, and what could not be read: {}", self.log.display());
        // Below the table are an empty line and that one.
        let rows = size.rows.saturating_sub(lines.len() + 2);
        if self.table.nodes.is_empty() {
            lines.push("Reading this host…".to_owned());
        } else {
            lines.extend(render(self.table, Size { rows, ..size }));
        }
        lines.extend([String::new(), foot]);
        lines.truncate(size.rows);
        lines.iter().map(|line| line.chars().take(size.columns).collect()).collect()
    }
}

/// No line end after the last line: it would move the picture up.
fn drawn(lines: &[String]) -> String {
    let lines: Vec<String> = lines.iter().map(|line| format!("{line}{CLEAR_LINE}")).collect();
    format!("{HOME}{}{CLEAR_BELOW}", lines.join("\r\n"))
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

fn size() -> Size {
    let told = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let told = told.filter(|told| 0 < told.ws_col && 0 < told.ws_row);
    told.map_or(SIZE_DEFAULT, |told| Size {
        columns: usize::from(told.ws_col),
        rows: usize::from(told.ws_row),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Line;

    fn lines(size: Size) -> Vec<String> {
        let line = |number| Line { name: format!("/{number}"), ..Line::default() };
        let table = Table {
            nodes: vec![line(0)],
            containers: (1..100).map(line).collect(),
            ..Table::default()
        };
        let urls = ["http://127.0.0.1:8082/api/v1/model/nodes".to_owned(), "http://b".to_owned()];
        let log = Path::new("/a/log");
        let resolution = Resolution::from_seconds(1).unwrap();
        Frame { table: &table, resolution, urls: &urls, log }.lines(size)
    }

    #[test]
    fn a_picture_fills_the_terminal_and_no_more() {
        for columns in [1, 40, 80, 300] {
            for rows in [1, 4, 10, 24, 50] {
                let found = lines(Size { columns, rows });
                assert!(found.len() <= rows, "{columns}x{rows}: {}", found.len());
                assert!(found.iter().all(|line| line.chars().count() <= columns), "{columns}");
                assert!(rows < 4 || found.len() == rows, "{columns}x{rows}: {}", found.len());
            }
        }
    }

    #[test]
    fn urls_stand_alone_on_their_lines_where_there_is_room() {
        let found = lines(Size { columns: 80, rows: 24 });
        assert_eq!(found[1], "http://127.0.0.1:8082/api/v1/model/nodes");
        let found = lines(Size { columns: 80, rows: 10 });
        assert!(found.iter().all(|line| !line.contains("http")), "{found:?}");
    }

    #[test]
    fn the_last_line_has_no_end() {
        assert!(drawn(&["a".to_owned(), "b".to_owned()]).ends_with("b\x1b[K\x1b[J"));
    }
}

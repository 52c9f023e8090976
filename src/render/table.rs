//! Tables: as wide as the terminal with lines around them, or bare columns for a pipe. Also Markdown and CSV of the same rows.

use std::io::{self, Write};

use super::sanitize::visible_line;

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Numbers.
    Right,
    /// Lists and sentences, which may be broken over several lines. No other column is: what is broken cannot be copied.
    Wrap,
}

/// The narrowest that a broken column is, in characters.
const LEAST: usize = 16;

/// Writes rows under a head. `width` is that of the terminal; without it columns are separated by blanks alone. Where the terminal is
/// too narrow, each row becomes lines of its own.
///
/// # Errors
/// When writing fails.
pub fn write_table(
    head: &[&str],
    rows: &[Vec<String>],
    columns: &[(usize, Align)],
    width: Option<u16>,
    out: &mut dyn Write,
) -> io::Result<()> {
    use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};
    let is = |at: usize, align: Align| columns.contains(&(at, align));
    let least = |at: usize| widest(head, rows, at).min(if is(at, Align::Wrap) { LEAST } else { usize::MAX });
    // A blank on both sides of each column and a line, and the last line.
    let needed: usize = (0..head.len()).map(|at| least(at) + 3).sum::<usize>() + 1;
    if let Some(width) = width.map(usize::from).filter(|width| needed > *width) {
        return write_records(head, rows, |at| is(at, Align::Wrap).then_some(width), out);
    }
    let mut table = Table::new();
    table.set_header(head);
    table.add_rows(rows);
    for (at, column) in table.column_iter_mut().enumerate() {
        if is(at, Align::Right) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if width.is_some() && !is(at, Align::Wrap) {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    let Some(width) = width else {
        table.load_style(presets::NOTHING);
        return table.lines().try_for_each(|line| writeln!(out, "{}", line.strip_prefix(' ').unwrap_or(line.as_str()).trim_end()));
    };
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(width);
    writeln!(out, "{table}")
}

/// The widest cell of a column, its head too, in characters.
fn widest(head: &[&str], rows: &[Vec<String>], at: usize) -> usize {
    let cells = rows.iter().filter_map(|row| Some(row.get(at)?.chars().count()));
    cells.chain(head.get(at).map(|name| name.chars().count())).max().unwrap_or(0)
}

/// Each row as lines of name and cell, without those that have nothing; a blank line between rows. `width` says to how many characters
/// a column is broken between words; others are left to the terminal, which copies what it breaks as one.
fn write_records(head: &[&str], rows: &[Vec<String>], width: impl Fn(usize) -> Option<usize>, out: &mut dyn Write) -> io::Result<()> {
    let head = &told_apart(head);
    let names = head.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            writeln!(out)?;
        }
        for (at, (name, cell)) in head.iter().zip(row).enumerate().filter(|(_, (_, cell))| !matches!(cell.as_str(), "" | "-")) {
            let room = width(at).map_or(usize::MAX, |width| width.saturating_sub(names + 2).max(LEAST));
            for (n, line) in broken(cell, room).iter().enumerate() {
                writeln!(out, "{:names$}  {line}", if n == 0 { name } else { "" })?;
            }
        }
    }
    Ok(())
}

/// The names of columns, each once. One that several columns have belongs to the column before them that has its name alone.
fn told_apart(head: &[&str]) -> Vec<String> {
    let mut of = "";
    let mut told = Vec::new();
    for name in head {
        let alone = head.iter().filter(|other| *other == name).count() == 1;
        told.push(if alone { (*name).to_string() } else { format!("{of} {}", name.to_lowercase()).trim_start().to_string() });
        of = if alone { name } else { of };
    }
    told
}

/// `text` as lines of at most `room` characters, where its words are not longer.
fn broken(text: &str, room: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().filter(|line| line.is_empty() || line.chars().count() + 1 + word.chars().count() <= room);
        match line {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => _ = (line.push(' '), line.push_str(word)),
            None => lines.push(word.to_string()),
        }
    }
    lines
}

/// Writes a Markdown table. A cell in which anything could be markup is code, where nothing is.
///
/// # Errors
/// When writing fails.
pub fn write_markdown(head: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let mut row = |cells: &mut dyn Iterator<Item = String>| writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    row(&mut head.iter().map(|name| (*name).to_string()))?;
    row(&mut head.iter().map(|_| "---".to_string()))?;
    rows.iter().try_for_each(|cells| row(&mut cells.iter().map(|cell| markdown_cell(cell))))
}

fn markdown_cell(cell: &str) -> String {
    if is_markup(cell) {
        // A table is cut at bars before code is looked for, but for those that a backslash makes harmless.
        inline(&cell.replace("\\|", "\\ |")).replace('|', "\\|")
    } else {
        cell.to_string()
    }
}

/// Whether anything in `text` could be markup, in Markdown or in what bug trackers make of it: links, people, other reports.
fn is_markup(text: &str) -> bool {
    let signs = |c: char| c.is_control() || "\\`*[]!<>&|@#~$^{}".contains(c);
    // Within a word an underscore is part of it.
    let emphasis = text.split(|c: char| !(c.is_alphanumeric() || c == '_')).any(|word| word.starts_with('_') || word.ends_with('_'));
    text.contains(signs) || emphasis || text.contains("://") || text.contains("www.")
}

/// Text of a report as code in Markdown, in which nothing is markup.
pub fn inline(text: &str) -> String {
    format!("`{}`", visible_line(text).replace('`', "'"))
}

/// Writes CSV as RFC 4180 has it, but with line feeds alone. Control characters are made visible, and a cell that a spreadsheet would take for a formula begins with `'`.
///
/// # Errors
/// When writing fails.
pub fn write_csv(head: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let escape = |cell: &str| {
        let cell = visible_line(cell);
        let formula = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if cell.contains(['"', ',', '\n', '\r']) || !formula.is_empty() {
            format!("\"{formula}{}\"", cell.replace('"', "\"\""))
        } else {
            cell
        }
    };
    let mut row = |cells: &mut dyn Iterator<Item = String>| writeln!(out, "{}", cells.collect::<Vec<_>>().join(","));
    row(&mut head.iter().map(|cell| escape(cell)))?;
    rows.iter().try_for_each(|cells| row(&mut cells.iter().map(|cell| escape(cell))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(rows: &[Vec<String>], write: impl Fn(&[&str], &[Vec<String>], &mut dyn Write) -> io::Result<()>) -> String {
        let mut out = Vec::new();
        write(&["A", "B"], rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    fn row(a: &str, b: &str) -> Vec<String> {
        vec![a.to_string(), b.to_string()]
    }

    #[test]
    fn cells_cannot_leave_their_column() {
        let rows = [row("a|b", "x,\"y\""), row("=1+1", "<script>")];
        assert_eq!(written(&rows, write_markdown), "| A | B |\n| --- | --- |\n| `a\\|b` | x,\"y\" |\n| =1+1 | `<script>` |\n");
        assert_eq!(written(&rows, write_csv), "A,B\na|b,\"x,\"\"y\"\"\"\n\"'=1+1\",<script>\n");
    }

    #[test]
    fn csv_drives_no_terminal() {
        let seen = written(&[row("\u{1b}[31mdd", "a\nb\u{202e}")], write_csv);
        assert_eq!(seen, "A,B\n\\x1b[31mdd,a\\nb\\u{202e}\n");
    }

    #[test]
    fn nothing_of_a_report_is_markup() {
        let cell = |text: &str| markdown_cell(text);
        for hostile in
            ["![x](http://evil.example/p.png) @bob", "<img src=x>", "foo<bar>(int)", "__init__", "*a*", "a ~~b~~", "see #12", "www.x.y"]
        {
            assert_eq!(cell(hostile), format!("`{hostile}`"));
        }
        assert_eq!(cell("`a` \\| b"), "`'a' \\ \\| b`");
        assert_eq!((cell("txg_wait_synced ×3, dd ×1"), cell("")), ("txg_wait_synced ×3, dd ×1".to_string(), String::new()));
    }

    #[test]
    fn a_name_of_two_columns_is_told_apart_where_each_stands_alone() {
        let head = ["Size", "Before", "Now", "Elements", "Before", "Now", "Zone"];
        let rows = [["+1", "2", "3", "+4", "5", "6", "kalloc.16"].map(str::to_string).to_vec()];
        let mut out = Vec::new();
        write_table(&head, &rows, &[], Some(20), &mut out).unwrap();
        let names: Vec<String> = String::from_utf8(out).unwrap().lines().map(|line| line[..15].trim_end().to_string()).collect();
        assert_eq!(names, ["Size", "Size before", "Size now", "Elements", "Elements before", "Elements now", "Zone"]);
    }

    #[test]
    fn what_is_copied_is_never_broken() {
        let (head, uuid, path) =
            (["Name", "UUID", "List"], "6F6B1D9A-5C32-3E5B-9D8F-7C1B5D2A0E11", "/Library/Extensions/zfs.kext/Contents/MacOS/zfs");
        let rows = [
            vec![path.to_string(), uuid.to_string(), "one two three four five six".to_string()],
            vec!["a".into(), "-".into(), String::new()],
        ];
        for width in [10, 80, 109, 160] {
            let mut out = Vec::new();
            write_table(&head, &rows, &[(2, Align::Wrap)], Some(width), &mut out).unwrap();
            let text = String::from_utf8(out).unwrap();
            assert!(text.contains(uuid) && text.contains(path), "{width}: {text}");
            assert_eq!(text.starts_with('┌'), width >= 109, "{width}: {text}");
            assert!(width < 60 || text.lines().all(|line| line.chars().count() <= usize::from(width)), "{width}: {text}");
            assert!(width > 60 || text.ends_with("\nList  one two three\n      four five six\n\nName  a\n"), "{width}: {text}");
        }
    }
}

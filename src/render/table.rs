//! Tables: as wide as the terminal with lines around them, or bare columns for a pipe. Also Markdown and CSV of the same rows.

use std::io::{self, Write};

/// Where a column's text stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Align {
    /// Numbers.
    Right,
    /// Never broken over two lines, as what is copied.
    Whole,
}

/// Writes rows under a head. `width` is that of the terminal; without it columns are separated by blanks alone.
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
    let mut table = Table::new();
    table.set_header(head);
    table.add_rows(rows);
    for (at, align) in columns {
        let Some(column) = table.column_mut(*at) else { continue };
        if *align == Align::Right {
            column.set_cell_alignment(CellAlignment::Right);
        } else if width.is_some() {
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

/// Writes a Markdown table. What would end a cell or begin markup is escaped.
///
/// # Errors
/// When writing fails.
pub fn write_markdown(head: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let escape = |cell: &str| cell.replace('\\', "\\\\").replace('|', "\\|").replace('<', "&lt;").replace(['`', '\n', '\r'], " ");
    let mut row = |cells: &mut dyn Iterator<Item = String>| writeln!(out, "| {} |", cells.collect::<Vec<_>>().join(" | "));
    row(&mut head.iter().map(|cell| escape(cell)))?;
    row(&mut head.iter().map(|_| "---".to_string()))?;
    rows.iter().try_for_each(|cells| row(&mut cells.iter().map(|cell| escape(cell))))
}

/// Writes CSV as RFC 4180 has it, but with line feeds alone. A cell that a spreadsheet would take for a formula begins with `'`.
///
/// # Errors
/// When writing fails.
pub fn write_csv(head: &[&str], rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let escape = |cell: &str| {
        let formula = if cell.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
        if cell.contains(['"', ',', '\n', '\r']) || !formula.is_empty() {
            format!("\"{formula}{}\"", cell.replace('"', "\"\""))
        } else {
            cell.to_string()
        }
    };
    let mut row = |cells: &mut dyn Iterator<Item = String>| writeln!(out, "{}", cells.collect::<Vec<_>>().join(","));
    row(&mut head.iter().map(|cell| escape(cell)))?;
    rows.iter().try_for_each(|cells| row(&mut cells.iter().map(|cell| escape(cell))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl Fn(&[&str], &[Vec<String>], &mut dyn Write) -> io::Result<()>) -> String {
        let rows = [vec!["a|b".to_string(), "x,\"y\"".to_string()], vec!["=1+1".to_string(), "<script>".to_string()]];
        let mut out = Vec::new();
        write(&["A", "B"], &rows, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_cannot_leave_their_column() {
        assert_eq!(
            written(|head, rows, out| write_markdown(head, rows, out)),
            "| A | B |\n| --- | --- |\n| a\\|b | x,\"y\" |\n| =1+1 | &lt;script> |\n"
        );
        assert_eq!(written(|head, rows, out| write_csv(head, rows, out)), "A,B\na|b,\"x,\"\"y\"\"\"\n\"'=1+1\",<script>\n");
    }
}

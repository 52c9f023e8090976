//! Groups to paste into a bug report: a table, then each group's frames in a code block.

use std::io::{self, Write};

use super::table::{HEAD, cells};
use super::{GroupOutput, View, frame, heading};
use crate::group::Groups;
use crate::note::Note;
use crate::render::Style;
use crate::render::sanitize::visible_line;
use crate::render::table::write_markdown;

/// The output.
pub struct Markdown;

impl GroupOutput for Markdown {
    fn id(&self) -> &'static str {
        "markdown"
    }
    fn about(&self) -> &'static str {
        "a table and the frames of each group, to paste into a bug report"
    }
    fn write(&self, groups: &Groups<'_, '_>, _: &[Note], view: View, out: &mut dyn Write) -> io::Result<()> {
        let style = Style { colour: false, ..view.style };
        let rows: Vec<Vec<String>> =
            groups.list.iter().map(|group| cells(groups, group).into_iter().map(|cell| visible_line(&cell)).collect()).collect();
        write_markdown(&HEAD, &rows, out)?;
        for group in &groups.list {
            let name = heading(groups, group).unwrap_or("no kernel frames".to_string());
            writeln!(out, "\n### {} × {}\n\n```text", group.count, visible_line(&name).replace('`', "'"))?;
            let reliable = groups.stack(group.shown).frames.iter().enumerate().filter(|(_, raw)| raw.reliable || view.all_frames);
            for (n, _) in reliable {
                let written = frame(groups, group.shown, n, style);
                for line in std::iter::once(&written.line).chain(&written.below) {
                    writeln!(out, "{}", visible_line(line).replace("```", "'''"))?;
                }
            }
            writeln!(out, "```")?;
        }
        Ok(())
    }
}

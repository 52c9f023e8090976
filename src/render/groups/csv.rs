//! Groups for spreadsheets: the rows of the table, and the frames in one cell.

use std::io::{self, Write};

use super::table::{cells, head};
use super::{GroupOutput, View, example};
use crate::group::{Groups, key};
use crate::note::Note;
use crate::render::table::write_csv;

/// The output.
pub struct Csv;

impl GroupOutput for Csv {
    fn id(&self) -> &'static str {
        "csv"
    }
    fn about(&self) -> &'static str {
        "one row for each group, its functions in one cell, innermost first"
    }
    fn write(&self, groups: &Groups<'_, '_>, _: &[Note], _: View, out: &mut dyn Write) -> io::Result<()> {
        let head: Vec<&str> = head(groups).into_iter().chain(["Frames"]).collect();
        let row = |group| -> Vec<String> {
            let group: &crate::group::Group = group;
            let at = group.shown;
            let chain = key::chain(groups.stack(at), |n| groups.mark(at, n));
            let frames: Vec<String> = chain.map(|(n, _)| groups.name(at, n).to_string()).collect();
            let frames = match example(group) {
                Some(example) => format!("{example} {}", frames.join(" | ")),
                None => frames.join(" | "),
            };
            cells(groups, group).into_iter().chain([frames]).collect()
        };
        write_csv(&head, &groups.list.iter().map(row).collect::<Vec<_>>(), out)
    }
}

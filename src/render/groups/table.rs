//! Groups as rows: one line each, for an overview.

use std::io::{self, Write};

use super::{GroupOutput, View, heading, numbered, ranked};
use crate::group::{Group, Groups};
use crate::note::Note;
use crate::render::sanitize::visible_line;
use crate::render::table::{Align, write_table};

/// The output.
pub struct Table;

const HEAD: [&str; 7] = ["Count", "Kind", "State", "Waiting in", "Processes", "Wait channel", "Fingerprint"];

/// Columns with lists in them.
const WRAPPED: [&str; 3] = ["State", "Processes", "Wait channel"];

/// The head of the rows; those of Markdown and CSV are the same. Bytes have a column where reports count them.
pub fn head(groups: &Groups<'_, '_>) -> Vec<&'static str> {
    let mut head = HEAD.to_vec();
    if counts_bytes(groups) {
        head.insert(1, "Bytes");
    }
    head
}

fn counts_bytes(groups: &Groups<'_, '_>) -> bool {
    groups.list.iter().any(|group| group.bytes.is_some())
}

impl GroupOutput for Table {
    fn id(&self) -> &'static str {
        "table"
    }
    fn about(&self) -> &'static str {
        "one row for each group"
    }
    fn write(&self, groups: &Groups<'_, '_>, _: &[Note], view: View, out: &mut dyn Write) -> io::Result<()> {
        let head = head(groups);
        let rows: Vec<Vec<String>> =
            groups.list.iter().map(|group| cells(groups, group).into_iter().map(|cell| visible_line(&cell)).collect()).collect();
        let mut columns = vec![(0, Align::Right)];
        columns.extend(head.iter().enumerate().filter(|(_, name)| WRAPPED.contains(name)).map(|(at, _)| (at, Align::Wrap)));
        write_table(&head, &rows, &columns, view.style.terminal.then_some(view.width), out)
    }
}

/// The cells of one group; empty where nothing is known.
pub fn cells(groups: &Groups<'_, '_>, group: &Group) -> Vec<String> {
    const FEW: usize = 3;
    let tally = groups.tally(group);
    let list = |counts: &std::collections::BTreeMap<String, u64>| {
        let ranked = ranked(counts);
        let more = if ranked.len() > FEW { format!(" and {} more", ranked.len() - FEW) } else { String::new() };
        let shown: Vec<String> = ranked.iter().take(FEW).map(|(name, count)| format!("{name} ×{count}")).collect();
        shown.join(", ") + &more
    };
    let bytes = counts_bytes(groups).then(|| group.bytes.map(|bytes| bytes.to_string()).unwrap_or_default());
    let other = [
        group.kind.name().to_string(),
        ranked(&tally.states).iter().map(|(state, _)| *state).collect::<Vec<_>>().join(" "),
        heading(groups, group).unwrap_or_default(),
        list(&numbered(&tally.processes)),
        list(&tally.wait_channels),
        group.fingerprint.clone(),
    ];
    std::iter::once(group.count.to_string()).chain(bytes).chain(other).collect()
}

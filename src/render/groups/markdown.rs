//! Groups to paste into a bug report: a table, then each group's frames in a code block.

use std::io::{self, Write};

use super::table::{cells, head};
use super::{GroupOutput, View, example, frame, heading};
use crate::group::Groups;
use crate::group::naming::NameId;
use crate::group::similar::{Cluster, Differences, clusters, differences};
use crate::note::Note;
use crate::render::Style;
use crate::render::sanitize::visible_line;
use crate::render::table::{inline, write_markdown};
use crate::triage::triage;

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
        if view.triage {
            verdicts(groups, out)?;
        }
        write_markdown(&head(groups), &rows, out)?;
        let alone = |head| Cluster { head, others: Vec::new() };
        let order = if view.similar { clusters(groups) } else { (0..groups.list.len()).map(alone).collect() };
        for cluster in &order {
            let group = &groups.list[cluster.head];
            let name = heading(groups, group).unwrap_or("no kernel frames".to_string());
            writeln!(out, "\n### {} × {}\n", group.count, inline(&name))?;
            if let Some(example) = example(group) {
                writeln!(out, "For{}\n", example.strip_prefix("for").unwrap_or_default())?;
            }
            writeln!(out, "```text")?;
            let reliable = groups.stack(group.shown).frames.iter().enumerate().filter(|(_, raw)| raw.reliable || view.all_frames);
            for (n, _) in reliable {
                let written = frame(groups, group.shown, n, style);
                for line in std::iter::once(&written.line).chain(&written.below) {
                    writeln!(out, "{}", visible_line(line).replace("```", "'''"))?;
                }
            }
            writeln!(out, "```")?;
            near(groups, cluster, out)?;
        }
        Ok(())
    }
}

/// The verdicts with the lines that they rest on.
fn verdicts(groups: &Groups<'_, '_>, out: &mut dyn Write) -> io::Result<()> {
    let found = triage(groups);
    if found.is_empty() {
        writeln!(out, "**verdict: none**; no rule has evidence here\n")?;
    }
    for verdict in &found {
        let source = if groups.reports.len() > 1 { format!(" ({})", inline(&verdict.source)) } else { String::new() };
        writeln!(out, "**verdict: {}**{source}\n\n{}\n", verdict.verdict, inline(&verdict.why))?;
        for evidence in &verdict.evidence {
            writeln!(out, "* line {}: {}", evidence.line, inline(&evidence.text))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// The groups that are nearly that of the cluster's head, and in which frames they differ from it.
fn near(groups: &Groups<'_, '_>, cluster: &Cluster, out: &mut dyn Write) -> io::Result<()> {
    let head = &groups.list[cluster.head];
    if !cluster.others.is_empty() {
        writeln!(out, "\nSimilar:\n")?;
    }
    for other in cluster.others.iter().map(|other| &groups.list[*other]) {
        let Differences { gone, new } = differences(groups, head, other);
        let named = |sign: char| move |(_, name): &(usize, NameId)| format!("{sign} {}", groups.naming.name(*name));
        let differing: Vec<String> = gone.iter().map(named('-')).chain(new.iter().map(named('+'))).collect();
        writeln!(out, "* {} × `{}`: {}", other.count, other.fingerprint, inline(&differing.join(", ")))?;
    }
    Ok(())
}

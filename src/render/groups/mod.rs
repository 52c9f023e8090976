//! Writing groups of stacks. A new output is one file that implements [`GroupOutput`] and one line in [`GROUP_OUTPUTS`].

pub mod csv;
pub mod json;
pub mod markdown;
pub mod table;
pub mod text;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use super::frames::Rewritten;
use super::wrap::wrapped;
use super::{Style, listing};
use crate::group::{Group, Groups, StackRef};
use crate::model::stack::StackKind;
use crate::note::Note;

/// How groups are shown.
#[derive(Clone, Copy, Debug, Default)]
pub struct View {
    /// Frames, colour, terminal.
    pub style: Style,
    /// Columns of the terminal; 100 when there is none.
    pub width: u16,
    /// Whether every member is listed instead of the first few.
    pub all_members: bool,
    /// Whether verdicts are given.
    pub triage: bool,
    /// Whether groups that differ in a frame or two stand together.
    pub similar: bool,
    /// Whether the frames below the interesting one are shown one by one, and unreliable ones too.
    pub all_frames: bool,
}

impl View {
    /// A sentence, broken between words where it goes to a terminal.
    fn wrapped(&self, text: &str) -> String {
        wrapped(text, 4, self.style.terminal.then_some(self.width))
    }
}

/// One output format of `group`.
pub trait GroupOutput: Sync {
    /// The name that `--format` takes.
    fn id(&self) -> &'static str;
    /// One line for the help.
    fn about(&self) -> &'static str;
    /// Writes all groups; `notes` are those of the whole run.
    ///
    /// # Errors
    /// When writing fails.
    fn write(&self, groups: &Groups<'_, '_>, notes: &[Note], view: View, out: &mut dyn Write) -> io::Result<()>;
}

/// Every output format of `group`; the first is the default.
pub static GROUP_OUTPUTS: &[&dyn GroupOutput] = &[&text::Text, &table::Table, &json::Json, &json::NdJson, &markdown::Markdown, &csv::Csv];

/// The output of that id.
pub fn by_id(id: &str) -> Option<&'static dyn GroupOutput> {
    GROUP_OUTPUTS.iter().copied().find(|output| output.id() == id)
}

/// Frame `n` of a stack as one line and lines below it, in the idiom of its report.
pub fn frame(groups: &Groups<'_, '_>, at: StackRef, n: usize, style: Style) -> Rewritten {
    listing::frame(&groups.reports[at.report as usize], at.stack as usize, n, style)
}

/// What names a group: its interesting frame, or what its stacks share where they differ.
pub fn heading(groups: &Groups<'_, '_>, group: &Group) -> Option<String> {
    match &group.shared {
        Some(shared) => Some(shared.name.clone()),
        None => group.interesting.map(|n| groups.name(group.shown, n).to_string()).or_else(|| said(groups, group)),
    }
}

/// What an earlier run named a group whose stacks differ: it has told no frames.
fn said(groups: &Groups<'_, '_>, group: &Group) -> Option<String> {
    let stack = groups.stack(group.shown);
    stack.title.clone().filter(|_| stack.tally.is_some() && stack.kind == StackKind::Thread)
}

/// The same in a sentence: `in zio_wait [zfs]`, `with state D`.
pub fn place(groups: &Groups<'_, '_>, group: &Group) -> Option<String> {
    let with = group.shared.as_ref().map_or(group.interesting.is_none(), |shared| !shared.in_function);
    Some(format!("{} {}", if with { "with" } else { "in" }, heading(groups, group)?))
}

/// What stands before frames that are not those of all.
pub fn example(group: &Group) -> Option<String> {
    group.shared.as_ref().map(|shared| format!("for example, {} of {}:", shared.alike, group.count))
}

/// The counts of a tally, most frequent first.
pub fn ranked(counts: &BTreeMap<String, u64>) -> Vec<(&str, u64)> {
    let mut ranked: Vec<(&str, u64)> = counts.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    ranked.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    ranked
}

/// Names that differ only in numbers, `kworker/0:1` and `kworker/1:3`, as one: `kworker/N:N`. A name that stands alone stays.
pub fn numbered(counts: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let mut alike: BTreeMap<String, Vec<(&String, u64)>> = BTreeMap::new();
    for (name, count) in counts {
        alike.entry(without_numbers(name)).or_default().push((name, *count));
    }
    let one = |(pattern, names): (String, Vec<(&String, u64)>)| match &names[..] {
        [(name, count)] => ((*name).clone(), *count),
        several => (pattern, several.iter().map(|(_, count)| *count).fold(0, u64::saturating_add)),
    };
    alike.into_iter().map(one).collect()
}

fn without_numbers(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for c in name.chars() {
        match c {
            '0'..='9' if text.ends_with('N') => {}
            '0'..='9' => text.push('N'),
            _ => text.push(c),
        }
    }
    text
}

/// `text` cut to `width` characters, with an ellipsis where something is missing.
pub fn cut(text: &str, width: usize) -> Cow<'_, str> {
    match text.char_indices().nth(width) {
        Some(_) => Cow::Owned(text.chars().take(width.saturating_sub(1)).chain(['…']).collect()),
        None => Cow::Borrowed(text),
    }
}

/// A thread's number as its report prints it: the thread id, else the process id.
pub fn thread_id(member: &crate::model::group::Member) -> Option<String> {
    member.tid.clone().or_else(|| member.pid.map(|pid| pid.to_string()))
}

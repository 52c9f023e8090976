//! Folded stacks, what flame graph programs read: one line for each distinct stack, root first, and how many threads stand there.
//!
//! ```text
//! ret_from_fork_[k];kthread_[k];txg_sync_thread_[k];spa_sync_[k] 3
//! ```
//!
//! Frames that the report holds for unreliable are left out. Inlined calls that debug info knows are frames of their own, marked `_[i]`
//! as `stackcollapse-perf.pl --inline` does. Functions go by their base names, so that the graphs of two builds compare.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use rustc_hash::FxHashMap;

use super::Report;
use super::sanitize::visible_line;
use crate::group::Weight;
use crate::group::naming::{FrameName, Naming};
use crate::model::stack::{RawFrame, Role, Stack, StackKind};
use crate::names::base_name;

/// How frames are written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum FrameStyle {
    /// `zio_wait_[k]`, and `[zfs]_[k]` for what has no name: `stackcollapse-perf.pl --kernel`.
    #[default]
    Perf,
    /// ``zfs`zio_wait``, ``kernel`schedule``: DTrace and illumos.
    Dtrace,
    /// `zio_wait`.
    Plain,
}

/// Every style with its name; the first is the default.
pub const FRAME_STYLES: &[(&str, FrameStyle)] = &[("perf", FrameStyle::Perf), ("dtrace", FrameStyle::Dtrace), ("plain", FrameStyle::Plain)];

/// What goes into the lines.
#[derive(Clone, Debug, Default)]
pub struct Folding {
    /// How frames are written.
    pub style: FrameStyle,
    /// Whether the thread's name is the root of its stacks.
    pub by_thread: bool,
    /// Whether inlined calls are frames.
    pub inlined: bool,
    /// What the number behind a stack counts.
    pub weight: Weight,
    /// Functions one of which a stack has to run through; none for all stacks.
    pub only: Vec<String>,
}

/// Distinct stacks with their counts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Folded {
    /// Root first, frames joined by semicolons.
    pub stacks: BTreeMap<String, u64>,
    /// The module of each frame as it is written; empty for the kernel.
    pub modules: BTreeMap<String, String>,
    /// Threads without any frame, which have no place in a graph.
    pub without_frames: u64,
}

impl Folded {
    /// Folds the stacks of `reports`, whose names `naming` holds.
    pub fn of(reports: &[Report<'_>], naming: &Naming, folding: &Folding) -> Folded {
        let mut folded = Folded::default();
        for (number, report) in reports.iter().enumerate() {
            let folder = Folder { report, naming, number, folding };
            for (stack, count) in folder.distinct() {
                folder.fold(stack, count, &mut folded);
            }
        }
        folded
    }

    /// The lines, sorted, without line feeds.
    pub fn lines(&self) -> Vec<String> {
        self.stacks.iter().map(|(stack, count)| format!("{stack} {count}")).collect()
    }

    /// The lines of a differential graph, as `difffolded.pl` writes them: how many stood there in `old` and how many do now.
    pub fn differences(&self, old: &Folded) -> Vec<String> {
        let all: BTreeSet<&String> = old.stacks.keys().chain(self.stacks.keys()).collect();
        let count = |folded: &Folded, stack: &String| folded.stacks.get(stack).copied().unwrap_or(0);
        all.into_iter().map(|stack| format!("{stack} {} {}", count(old, stack), count(self, stack))).collect()
    }
}

/// Writes the lines, each ended by a line feed.
///
/// # Errors
/// When writing fails.
pub fn write(lines: &[String], out: &mut dyn Write) -> io::Result<()> {
    lines.iter().try_for_each(|line| writeln!(out, "{line}"))
}

/// A name that breaks no line: the semicolon parts frames, and the last blank of a line parts the count. As in
/// `stackcollapse-perf.pl`, they become a colon and an underscore; what a terminal would obey becomes visible.
///
/// ```
/// # use kstack::render::folded::harmless;
/// assert_eq!(harmless("[u8; 4]\u{1b}"), "[u8:_4]\\x1b");
/// assert_eq!(harmless("new\nline"), "new_line");
/// ```
pub fn harmless(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|b| matches!(b, b'!'..=b':' | b'<'..=b'~')) && !name.is_empty() {
        return Cow::Borrowed(name);
    }
    let one = |c: char| match c {
        ';' => ':',
        c if c.is_whitespace() => '_',
        // Two characters that no XML document may hold.
        '\u{fffe}' | '\u{ffff}' => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    let name: String = name.chars().map(one).collect();
    Cow::Owned(if name.is_empty() { "[unknown]".to_string() } else { visible_line(&name) })
}

/// One level of a stack.
struct Call<'a> {
    function: &'a str,
    module: &'a str,
    named: bool,
    inlined: bool,
    /// Whether it is of a program.
    user: bool,
}

impl Call<'_> {
    fn written(&self, style: FrameStyle) -> String {
        let function = match (self.named, self.module) {
            (true, _) => harmless(self.function),
            (false, _) if style == FrameStyle::Dtrace => harmless(self.function),
            (false, "") => Cow::Borrowed("[unknown]"),
            (false, module) => Cow::Owned(format!("[{}]", harmless(module))),
        };
        if self.user {
            let module = if style == FrameStyle::Dtrace && self.named { self.module } else { "" };
            return if module.is_empty() { function.into_owned() } else { format!("{}`{function}", harmless(module)) };
        }
        // An address that lies in no image is not the kernel's.
        let module = if self.module.is_empty() && (self.named || self.function.starts_with('+')) { "kernel" } else { self.module };
        match style {
            FrameStyle::Plain => function.into_owned(),
            FrameStyle::Perf => format!("{function}_[{}]", if self.inlined { 'i' } else { 'k' }),
            FrameStyle::Dtrace if module.is_empty() => function.into_owned(),
            FrameStyle::Dtrace => format!("{}`{function}{}", harmless(module), if self.inlined { "_[i]" } else { "" }),
        }
    }
}

struct Folder<'r, 'a> {
    report: &'r Report<'a>,
    naming: &'r Naming,
    number: usize,
    folding: &'r Folding,
}

impl<'r, 'a> Folder<'r, 'a> {
    /// The number of one stack of each kind that is written the same, and how many threads stand there.
    fn distinct(&self) -> Vec<(usize, u64)> {
        let mut roots: FxHashMap<&str, u64> = FxHashMap::default();
        let mut found: FxHashMap<Box<[u64]>, usize> = FxHashMap::default();
        let mut list: Vec<(usize, u64)> = Vec::new();
        for (at, stack) in self.report.capture.stacks.iter().enumerate().filter(|(_, stack)| !stack.aside) {
            let next = roots.len() as u64;
            let root = if self.folding.by_thread { *roots.entry(thread(stack)).or_insert(next) } else { 0 };
            let frames = stack.frames.iter().zip(&self.report.resolved.frames[at]);
            let frame = |(frame, answer): (&crate::model::stack::RawFrame, &u32)| {
                u64::from(*answer) << 2 | u64::from(frame.reliable) << 1 | u64::from(frame.role == Role::Inline)
            };
            // Frames of programs have no answers to be compared by, and who woke another has a stack of its own.
            let own = Some(at as u64 | 1 << 63).filter(|_| has_user(stack) || stack.waker().is_some());
            let key: Box<[u64]> = std::iter::once(root).chain(own).chain(frames.map(frame)).collect();
            let known = *found.entry(key).or_insert_with(|| {
                list.push((at, 0));
                list.len() - 1
            });
            list[known].1 = list[known].1.saturating_add(self.folding.weight.of(stack));
        }
        list
    }

    fn fold(&self, at: usize, count: u64, folded: &mut Folded) {
        let stack = &self.report.capture.stacks[at];
        let calls = self.calls(at);
        let woken = self.woken(at, folded);
        if calls.is_empty() && woken.is_empty() {
            folded.without_frames = folded.without_frames.saturating_add(count);
        }
        let wanted = |name: &String| calls.iter().any(|call| call.function == base_name(name));
        if count == 0 || calls.is_empty() && woken.is_empty() || !(self.folding.only.is_empty() || self.folding.only.iter().any(wanted)) {
            return;
        }
        // Samples of a whole system can be of no process.
        let nobody = stack.kind == StackKind::Sample && thread(stack).is_empty();
        let root = (self.folding.by_thread && !nobody).then(|| harmless(thread(stack)).into_owned());
        let mut frames: Vec<String> = root.into_iter().collect();
        frames.extend(calls.iter().rev().map(|call| self.written(call, folded)));
        frames.extend(woken);
        let sum = folded.stacks.entry(frames.join(";")).or_default();
        *sum = sum.saturating_add(count);
    }

    /// What stands above a stack that another ended, as bcc's `offwaketime -f` writes it: `--`, the stack of who did it, innermost frame
    /// first, and its name.
    fn woken(&self, at: usize, folded: &mut Folded) -> Vec<String> {
        let stacks = &self.report.capture.stacks;
        let Some(waker) = stacks[at].waker() else { return Vec::new() };
        let beside = at.checked_sub(1).filter(|before| stacks[*before].woke(&stacks[at]));
        let calls = beside.map(|before| self.calls(before)).unwrap_or_default();
        let name = Some(harmless(&waker.process).into_owned()).filter(|_| self.folding.by_thread);
        let calls = calls.iter().map(|call| self.written(call, folded));
        std::iter::once("--".to_string()).chain(calls).chain(name).collect()
    }

    fn written(&self, call: &Call<'_>, folded: &mut Folded) -> String {
        let text = call.written(self.folding.style);
        if !folded.modules.contains_key(&text) {
            folded.modules.insert(text.clone(), call.module.to_string());
        }
        text
    }

    /// The levels of a stack, innermost first.
    fn calls(&self, at: usize) -> Vec<Call<'r>> {
        let (report, folding) = (self.report, self.folding);
        let marks = self.naming.marks(self.number);
        let mut calls = Vec::new();
        // What the report itself marks as inlined stands before the function that it was inlined into.
        let mut marked: Vec<Call<'r>> = Vec::new();
        let chain = report.capture.stacks[at].frames.iter().zip(&report.resolved.frames[at]).filter(|(frame, _)| frame.reliable);
        for (frame, answer) in chain {
            let name = self.naming.name(marks[*answer as usize].name);
            if frame.role == Role::Inline {
                marked.push(Call { inlined: true, ..call(name) });
                continue;
            }
            let locations = report.resolved.answers[*answer as usize].locations.iter().filter(|location| location.inlined);
            let of_file = |function| Call { function: base_name(function), inlined: true, named: true, module: &name.module, user: false };
            let known: Vec<Call<'r>> = locations.filter_map(|location| location.function.as_deref()).map(of_file).collect();
            let marked = std::mem::take(&mut marked);
            if folding.inlined {
                calls.extend(if known.is_empty() { marked } else { known });
            }
            calls.push(call(name));
        }
        calls.extend(marked.into_iter().filter(|_| folding.inlined));
        let stack = &report.capture.stacks[at];
        calls.extend(stack.user_frames.iter().filter(|_| has_user(stack)).map(|frame| self.user(frame)));
        calls
    }

    /// A frame of a program, as the report prints it.
    fn user(&self, frame: &RawFrame) -> Call<'r> {
        let printed =
            |span: crate::model::stack::Span| std::str::from_utf8(span.of(self.report.text, frame.line_start)).unwrap_or_default();
        let (function, module) = (printed(frame.symbol), printed(frame.module));
        let module = module.rsplit('/').next().unwrap_or(module).trim_matches(['[', ']']);
        let module = if module == "unknown" { "" } else { module };
        Call { function, module, named: !function.is_empty(), inlined: false, user: true }
    }
}

/// Whether a stack is a sample with frames of a program, which belong into a profile.
fn has_user(stack: &Stack) -> bool {
    stack.kind == StackKind::Sample && !stack.user_frames.is_empty()
}

fn call(name: &FrameName) -> Call<'_> {
    Call { function: &name.function, module: &name.module, named: name.named, inlined: false, user: false }
}

/// What a thread is called: its own name, else that of its process.
fn thread(stack: &Stack) -> &str {
    stack.thread.as_deref().or(stack.process.as_deref()).unwrap_or_default()
}

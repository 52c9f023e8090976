//! What a report looks like at first sight: verdicts of a table of rules, each with the lines that it rests on.
//!
//! A verdict is where to look first, not a proof. No rule speaks without evidence.

pub mod graph;
pub mod rules;

use serde::Serialize;

use crate::group::{Groups, StackRef};
use crate::model::stack::Stack;
use crate::parse::lex;
use crate::report::Report;

/// A line that a verdict rests on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Evidence {
    /// Line of the report, from 1.
    pub line: u32,
    /// What stands there, in short.
    pub text: String,
}

/// What a rule says about a report.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Verdict {
    /// Where the report came from.
    pub source: String,
    /// `kernel crash`, `deadlock suspected`.
    pub verdict: &'static str,
    /// The reason, one sentence.
    pub why: String,
    /// What the rule itself rests on.
    pub rule: &'static str,
    /// What it rests on here, never empty.
    pub evidence: Vec<Evidence>,
}

/// Lines of evidence that a verdict gives; more would bury it.
const MOST_EVIDENCE: usize = 8;

/// How far from the frames of a stack its heading is looked for, in bytes: registers and a list of modules can stand between.
const NEAR: usize = 32 << 10;

/// The verdicts on each report, most telling first.
pub fn triage(groups: &Groups<'_, '_>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for number in 0..groups.reports.len() {
        let facts = Facts::of(groups, number);
        for rule in rules::RULES {
            if let Some((why, mut evidence)) = (rule.speaks)(&facts).filter(|(_, evidence)| !evidence.is_empty()) {
                evidence.truncate(MOST_EVIDENCE);
                let source = facts.report.source.to_string();
                verdicts.push(Verdict { source, verdict: rule.verdict, why, rule: rule.rests_on, evidence });
            }
        }
    }
    verdicts
}

/// The wait graph of each report.
pub fn graphs<'g>(groups: &'g Groups<'_, '_>) -> impl Iterator<Item = graph::Graph> + 'g {
    (0..groups.reports.len()).map(|number| Facts::of(groups, number).graph)
}

/// One report as the rules see it.
pub struct Facts<'g, 'a> {
    /// The report.
    pub report: &'g Report<'a>,
    groups: &'g Groups<'g, 'a>,
    number: u32,
    /// Its wait graph.
    pub graph: graph::Graph,
}

impl<'g, 'a> Facts<'g, 'a> {
    fn of(groups: &'g Groups<'g, 'a>, number: usize) -> Facts<'g, 'a> {
        let report = &groups.reports[number];
        let mut facts = Facts { report, groups, number: number as u32, graph: graph::Graph::default() };
        facts.graph = graph::Graph::of(report.capture, |stack| facts.takes_lock(stack));
        facts
    }

    /// Whether a stack stands in a function that takes a sleeping lock.
    fn takes_lock(&self, stack: usize) -> bool {
        const LOCKS: &[&str] = &[
            "mutex_lock",
            "__mutex_lock",
            "ww_mutex_lock",
            "rwsem_down",
            "down_",
            "percpu_down",
            "__percpu_down",
            "rt_mutex",
            "__rt_mutex",
        ];
        let frames = &self.report.capture.stacks[stack].frames;
        let waiting = (0..frames.len()).filter(|n| frames[*n].reliable).map(|n| &self.name(stack, n).function).take(8);
        waiting.into_iter().any(|function| LOCKS.iter().any(|begin| function.starts_with(begin)))
    }

    /// Every report of the same source, this one too: a panic and the stackshot that was taken with it.
    pub fn beside(&self) -> impl Iterator<Item = &'g Report<'a>> {
        let source = self.report.source;
        self.groups.reports.iter().filter(move |report| report.source == source)
    }

    /// Every stack with its number.
    pub fn stacks(&self) -> impl Iterator<Item = (usize, &'a Stack)> {
        self.report.capture.stacks.iter().enumerate()
    }

    /// The reliable frames of a stack that are in one of `functions` of module `module` (empty for any): stack, frame.
    pub fn in_functions(&self, module: &str, functions: &[&str]) -> Vec<(usize, usize)> {
        let holds = |stack: usize, n: usize| {
            let name = self.name(stack, n);
            functions.contains(&&*name.function) && (module.is_empty() || name.module.is_empty() || name.module.contains(module))
        };
        let of_stack =
            |(at, stack): (usize, &Stack)| (0..stack.frames.len()).find(|n| stack.frames[*n].reliable && holds(at, *n)).map(|n| (at, n));
        self.stacks().filter_map(of_stack).collect()
    }

    /// The lines of a kernel log that hold `words`, as far as they can be evidence.
    pub fn lines_with(&self, words: &str) -> Vec<Evidence> {
        let text = self.report.text;
        if self.report.capture.format != "linux-log" {
            return Vec::new();
        }
        let one = |at: usize| {
            let start = memchr::memrchr(b'\n', &text[..at]).map_or(0, |at| at + 1);
            let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |n| at + n);
            let line = u32::try_from(lex::line_number(text, at)).unwrap_or(u32::MAX);
            Evidence { line, text: lex::text(text[start..end].trim_ascii()) }
        };
        memchr::memmem::find_iter(text, words).take(MOST_EVIDENCE).map(one).collect()
    }

    /// The line that has `words`, from 1: the nearest before the frames of `stack`, else among them, as where execution was can be
    /// printed before what happened. `None` where the report words it otherwise, or far away.
    pub fn line_of(&self, stack: &Stack, words: &str) -> Option<u32> {
        let (first, last) = (stack.frames.first()?, stack.frames.last()?);
        let text = self.report.text;
        let start = usize::try_from(first.line_start).ok().filter(|start| *start <= text.len())?;
        let begin = start.saturating_sub(NEAR);
        let breaks = |part: &[u8]| u32::try_from(memchr::memchr_iter(b'\n', part).count()).unwrap_or(u32::MAX);
        if let Some(at) = memchr::memmem::rfind(&text[begin..start], words.as_bytes()) {
            return first.line.checked_sub(breaks(&text[begin + at..start]));
        }
        let end = usize::try_from(last.line_start).unwrap_or(usize::MAX).clamp(start, text.len()).min(start + NEAR);
        let at = memchr::memmem::find(&text[start..end], words.as_bytes())?;
        first.line.checked_add(breaks(&text[start..start + at]))
    }

    /// What frame `n` of stack `stack` counts as.
    pub fn name(&self, stack: usize, n: usize) -> &crate::group::naming::FrameName {
        self.groups.name(StackRef { report: self.number, stack: stack as u32 }, n)
    }

    /// A frame as evidence.
    pub fn at_frame(&self, stack: usize, n: usize) -> Evidence {
        let of = &self.report.capture.stacks[stack];
        Evidence { line: of.frames[n].line, text: format!("{} in {}", who(of), self.name(stack, n)) }
    }

    /// The stack's first telling frame as evidence; its heading when it has no frames.
    pub fn at_stack(&self, at: usize) -> Evidence {
        let stack = &self.report.capture.stacks[at];
        let marks = |n| self.groups.mark(StackRef { report: self.number, stack: at as u32 }, n);
        match crate::group::key::interesting(stack, marks) {
            Some(n) => self.at_frame(at, n),
            None => Evidence { line: stack.line, text: who(stack) },
        }
    }

    /// The groups' own order of the stacks that `wanted` holds for, one of each group: what differs comes first.
    pub fn one_of_each(&self, wanted: impl Fn(&Stack) -> bool) -> Vec<Evidence> {
        let mut evidence = Vec::new();
        for group in &self.groups.list {
            let here = |at: &&StackRef| at.report == self.number && wanted(self.groups.stack(**at));
            let members: Vec<&StackRef> = group.members.iter().filter(here).collect();
            if let Some(first) = members.first() {
                let mut line = self.at_stack(first.stack as usize);
                let count: u64 = members.iter().map(|at| self.groups.stack(**at).count).fold(0, u64::saturating_add);
                if count > 1 {
                    let like = group.shared.as_ref().map_or("like it".to_string(), |shared| format!("with {}", shared.name));
                    line.text.push_str(&format!(" (and {} more {like})", count - 1));
                }
                evidence.push(line);
            }
        }
        evidence
    }
}

/// `dd pid 274 [D]`, `kernel_task pid 0 thread 115`, as far as known.
fn who(stack: &Stack) -> String {
    let mut text = stack.process.clone().unwrap_or_else(|| stack.kind.name().to_string());
    text.extend(stack.pid.map(|pid| format!(" pid {pid}")));
    let pid = stack.pid.map(|pid| pid.to_string());
    text.extend(stack.tid.iter().filter(|tid| pid.as_ref() != Some(tid)).map(|tid| format!(" thread {tid}")));
    text.extend(stack.state.iter().map(|state| format!(" [{state}]")));
    text
}

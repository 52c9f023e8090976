//! What belongs to a headline: the lines that follow it, and the stacks that it announces.

use std::borrow::Cow;

use super::kind::Seat;
use crate::model::capture::{Headline, Os};
use crate::model::stack::{Role, Stack, StackKind};
use crate::names::base_name;
use crate::parse::linux_headings;
use crate::parse::linux_prefix::{self, Context};
use crate::parse::{fuchsia_lines, lex};
use crate::report::Report;
use crate::symbols::demangle::demangle;

/// How many lines of the same speaker are searched for what a headline leaves open.
const FOLLOWING: usize = 60;

/// How many stacks are searched for a guilty frame, where lines of others tore the first ones.
const CANDIDATES: usize = 4;

/// How far behind a headline its stacks begin, in lines: those of all CPUs or of all links of a lock chain can be many.
const NEAR_LINES: u32 = 2000;

/// How far behind a headline that may be anybody's its stack begins.
const VAGUE_LINES: u32 = 30;

/// How many stacks behind a headline can be its own.
const NEAR_STACKS: usize = 64;

/// Reports that have a stack and are no crash.
const HARMLESS: &[&str] = &["FAULT_INJECTION: ", "page allocation failure"];

/// A headline in its report.
pub struct Scene<'a, 'r> {
    /// The report.
    pub report: &'r Report<'a>,
    /// The headline.
    pub headline: &'r Headline,
    /// Its words.
    pub message: Cow<'a, str>,
    /// Who printed it.
    context: Context,
}

impl<'a, 'r> Scene<'a, 'r> {
    /// What stands around `headline`.
    pub fn new(report: &'r Report<'a>, headline: &'r Headline) -> Scene<'a, 'r> {
        let message = String::from_utf8_lossy(headline.text.of(report.text, headline.line_start));
        let at = headline.text.start;
        Scene { report, headline, message, context: context(report.text, headline.line_start, at) }
    }

    /// The messages of the headline's speaker behind it.
    pub fn following(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let (text, context, mixed) = (self.report.text, self.context, self.is_mixed());
        let rest = text.get(self.headline.line_start as usize..).unwrap_or_default();
        let zircon = self.is_zircon();
        let messages = fuchsia_lines::messages(if zircon { rest } else { b"" }).skip(1).take(4 * FOLLOWING).map(Cow::Owned);
        let rest = if zircon { b"" } else { rest };
        let records = lex::lines(rest).skip(1).take(4 * FOLLOWING).flat_map(move |line| {
            let mut own = Vec::new();
            linux_prefix::records(&line, |record| {
                if (mixed || record.context == context) && !record.text.trim_ascii().is_empty() {
                    own.push(String::from_utf8_lossy(record.text));
                }
            });
            own
        });
        messages.chain(records.take(FOLLOWING))
    }

    /// Those of them that belong to the headline: up to the next one.
    pub fn details(&self) -> impl Iterator<Item = Cow<'a, str>> {
        let zircon = self.is_zircon();
        self.following().take_while(move |text| zircon || linux_headings::headline(text.trim().as_bytes()).is_none())
    }

    /// The stacks near behind the headline that its speaker printed, or anyone if `others` is set.
    fn stacks(&self, others: bool) -> impl Iterator<Item = usize> {
        let stacks = &self.report.capture.stacks;
        let line = self.headline.line;
        let first = stacks.partition_point(|stack| stack.line < line);
        // Where execution was can be printed before the headline, and is the first frame of its stack.
        let ends_behind = move |at: &usize| stacks[*at].frames.last().is_some_and(|frame| frame.line > line);
        let near = move |at: &usize| stacks[*at].line < line.saturating_add(NEAR_LINES);
        let all = (first.saturating_sub(CANDIDATES)..stacks.len()).take(NEAR_STACKS).take_while(near).filter(ends_behind);
        all.filter(move |at| !stacks[*at].aside && (others || self.is_own(&stacks[*at])))
    }

    /// Whether stack `at` is what the headline announces, and nothing else came between.
    pub fn announces(&self, at: usize) -> bool {
        let stack = &self.report.capture.stacks[at];
        stack.title.as_deref().is_some_and(|title| title.ends_with(&*self.message))
            && stack.line < self.headline.line.saturating_add(VAGUE_LINES)
    }

    /// Whether one speaker's lines have stamps and others have none: the debuggers of the BSDs print without, and syslog of
    /// illumos has the first line of a panic from nobody.
    fn is_mixed(&self) -> bool {
        matches!(self.report.capture.os, Some(Os::FreeBsd | Os::NetBsd | Os::OpenBsd | Os::Illumos)) || self.names_inlined()
    }

    fn is_zircon(&self) -> bool {
        self.report.capture.os == Some(Os::Fuchsia)
    }

    /// Whether inlined functions count as all others: Go and the tools of Fuchsia print them always, and what fails there is often a
    /// small method.
    pub fn names_inlined(&self) -> bool {
        self.is_zircon() || self.report.capture.format == "go-trace"
    }

    fn is_own(&self, stack: &Stack) -> bool {
        let frame = stack.frames.first();
        self.is_mixed() || frame.is_some_and(|frame| context(self.report.text, frame.line_start, frame.text.start) == self.context)
    }

    /// The stacks that can hold the guilty frame, the likeliest first, and where in each the search begins. `interrupt` tells the
    /// functions by which an interrupt comes in.
    pub fn seats(&self, seat: Seat, interrupt: impl Fn(&str) -> bool) -> Vec<(usize, usize)> {
        let of_kind = |kinds: &[StackKind]| -> Vec<(usize, usize)> {
            let stacks = &self.report.capture.stacks;
            let fits = |at: &usize| kinds.contains(&stacks[*at].kind) && !is_harmless(&stacks[*at]);
            self.stacks(false).filter(fits).take(CANDIDATES).map(|at| (at, self.start(at))).collect()
        };
        match seat {
            Seat::Nowhere => Vec::new(),
            Seat::Trace | Seat::Place => of_kind(&[StackKind::Crash, StackKind::Irq]),
            Seat::Task => of_kind(&[StackKind::Thread, StackKind::Crash]),
            Seat::Allocation => [of_kind(&[StackKind::Alloc]), of_kind(&[StackKind::Crash])].concat(),
            Seat::Lock => of_kind(&[StackKind::Lock]),
            Seat::Interrupted => self.interrupted(interrupt),
        }
    }

    /// Where the search begins in stack `at`: before what an exception interrupted stands only what the kernel did about it. In crash's
    /// stacks the registers tell; FreeBSD says that a trap was fatal, and traces of its kernels without a debugger have no such frame, only
    /// the function by which traps come in.
    fn start(&self, at: usize) -> usize {
        let capture = self.report.capture;
        let frames = &capture.stacks[at].frames;
        let interrupted = || frames.iter().position(|frame| frame.role == Role::Regs);
        if capture.format == "crash-bt" {
            return interrupted().unwrap_or(0);
        }
        if capture.os != Some(Os::FreeBsd) || !self.message.starts_with("Fatal ") {
            return 0;
        }
        let enters = |n: &usize| self.function(at, *n).is_some_and(|name| name == "calltrap" || name.starts_with("alltraps"));
        let behind = || (0..frames.len()).find(enters).map(|n| n + 1);
        interrupted().or_else(behind).unwrap_or(0)
    }

    /// What a CPU was doing when the interrupt came that found it: behind the entry of the interrupt, else where execution was.
    fn interrupted(&self, interrupt: impl Fn(&str) -> bool) -> Vec<(usize, usize)> {
        let stacks = &self.report.capture.stacks;
        let current =
            |at: &usize| !matches!(stacks[*at].kind, StackKind::Lock | StackKind::Alloc | StackKind::Free) && !is_harmless(&stacks[*at]);
        let all: Vec<usize> = self.stacks(true).filter(current).take(2 * CANDIDATES).collect();
        let entered = all.iter().filter_map(|at| Some((*at, self.behind(*at, &interrupt)?)));
        let faulted = all.iter().filter(|at| stacks[**at].frames.first().is_some_and(|frame| frame.role == Role::Fault));
        entered.chain(faulted.map(|at| (*at, 0))).chain(all.iter().map(|at| (*at, 0))).collect()
    }

    /// The frame behind the first functions of stack `at` by which an interrupt came in.
    fn behind(&self, at: usize, interrupt: impl Fn(&str) -> bool) -> Option<usize> {
        let frames = &self.report.capture.stacks[at].frames;
        let mut certain = (0..frames.len()).filter(|n| frames[*n].reliable);
        let enters = |n: &usize| self.function(at, *n).is_some_and(|name| interrupt(&name));
        certain.find(enters)?;
        certain.find(|n| !enters(n))
    }

    /// Whether `function` is anywhere in stack `stack`.
    pub fn has(&self, stack: usize, function: &str) -> bool {
        (0..self.report.capture.stacks[stack].frames.len()).any(|n| self.function(stack, n).as_deref() == Some(function))
    }

    /// The function of frame `n` of stack `stack`, without compiler suffixes.
    pub fn function(&self, stack: usize, n: usize) -> Option<String> {
        let symbol = self.report.named(stack, n).symbol?;
        Some(demangle(base_name(&symbol)).into_owned())
    }
}

fn is_harmless(stack: &Stack) -> bool {
    stack.title.as_deref().is_some_and(|title| HARMLESS.iter().any(|words| title.contains(words)))
}

/// Who printed what stands at byte `at` of the line that starts at `line_start`.
fn context(text: &[u8], line_start: u64, at: u32) -> Context {
    let rest = text.get(line_start as usize..).unwrap_or_default();
    let mut context = Context::Bare;
    if let Some(line) = lex::lines(rest).next() {
        linux_prefix::records(&line, |record| {
            if record.at <= at {
                context = record.context;
            }
        });
    }
    context
}

//! The first line of a macOS panic, which can be wrapped into several: `panic(cpu N caller 0x…): …`.

use memchr::memmem;

use super::darwin_panic_explain as explain;
use super::darwin_panic_fields as fields;
use super::darwin_panic_join::Joined;
use super::darwin_panic_lines::panic_of;
use super::darwin_panic_log::{Log, Section, TITLE};
use super::darwin_panic_stack::Panic;
use super::darwin_panic_view::{View, hex_run, unescaped};
use super::darwin_panic_words as words;
use super::lex;
use crate::model::capture::Headline;
use crate::model::stack::Span;

/// Lines that a panic's first line can be wrapped into.
const HEAD_LINES: u8 = 5;
/// What stands before frames of xnu's `panic` that the debugger prints first.
const DEBUGGER: &[u8] = b"Debugger: Unexpected kernel trap number: ";

/// The first line of a panic, until it is whole.
#[derive(Debug)]
pub struct Head<'t> {
    /// Its lines, and whether a blank was lost before each.
    pub views: Vec<(View<'t>, bool)>,
    /// Where remarks about it go.
    pub line: (u32, u64),
    /// How many more lines it can have.
    pub left: u8,
}

impl Head<'_> {
    /// Its lines in one, with a blank between them unless an address was torn, or with none.
    pub fn joined(&self, blanks: bool) -> Joined {
        let mut joined = Joined::default();
        self.views.iter().for_each(|(view, blank)| joined.push(view, blanks && *blank));
        joined
    }
}

impl<'t> Log<'t> {
    /// `panic(cpu N caller 0x…): …`, or what a debugger says before it.
    pub(super) fn panic_line(&mut self, view: &View<'t>) -> bool {
        let cpu = panic_of(view.body);
        if cpu.is_none() && !view.body.starts_with(DEBUGGER) {
            return false;
        }
        self.close_head();
        let (from, to) = (view.at as u32, (view.at + view.body.len()) as u32);
        self.capture.headlines.push(Headline { line: view.number, line_start: view.start, text: Span { start: from, end: to } });
        if cpu.is_none() {
            return self.words(view);
        }
        if !self.lines.is_empty() || self.panic.has_backtrace() {
            self.close_panic();
        }
        self.lines.push(view.number);
        let title = lex::text(&unescaped(&view.body[..view.body.len().min(TITLE)]));
        let before = std::mem::replace(&mut self.panic, Panic::new(view.number, cpu.flatten(), Some(title)));
        self.panic.adopt(before);
        (self.trap, self.cr2, self.section) = (None, None, Section::Any);
        self.head = Some(Head { views: vec![(*view, false)], line: (view.number, view.start), left: HEAD_LINES });
        true
    }

    /// Reads the first line of a panic once it is whole.
    pub(super) fn close_head(&mut self) {
        let Some(head) = self.head.take() else { return };
        // Wrapped at blanks, or anywhere: the way that tells more counts.
        let ways = [head.joined(true), head.joined(false)].map(|joined| (words::said(&joined.bytes, &self.shape), joined));
        let [blanks, anywhere] = ways;
        let (all, joined) = if anywhere.0.len() > blanks.0.len() { anywhere } else { blanks };
        for said in all {
            self.say(&said, |at| joined.place(at));
        }
        self.trap = words::trap_number(&joined.bytes);
        if let Some((number, words)) = self.trap.and_then(|number| Some((number, explain::trap(number)?))) {
            self.remark(head.line, format!("trap {number}: {words}"));
        }
    }

    /// A line that no other reader knows, behind a panic's first: the rest of it.
    pub(super) fn more_head(&mut self, view: &View<'t>) -> bool {
        if fields::field(view.body).is_some() || view.body.starts_with(b"Debugger message:") || view.body.starts_with(b"Memory ID:") {
            self.close_head();
            return false;
        }
        // What an earlier run of kstack explained.
        if [&b"trap "[..], b"error code 0", b"esr 0x"].iter().any(|start| view.body.starts_with(start)) {
            return true;
        }
        let Some(head) = self.head.as_mut().filter(|head| head.left > 0) else { return false };
        let bytes = head.joined(true).bytes;
        let open = memmem::rfind(&bytes, b"0x").filter(|at| hex_run(&bytes[at + 2..]).len() + at + 2 == bytes.len());
        let torn = open.is_some_and(|at| bytes.len() - at < 18) && self.shape.wide;
        head.views.push((*view, !torn));
        head.left -= 1;
        head.line = (view.number, view.start);
        true
    }
}

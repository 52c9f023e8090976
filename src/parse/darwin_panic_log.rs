//! Goes through the lines of a macOS panic.

use std::ops::Range;

use memchr::memmem;

use super::darwin_panic_fields::{self as fields, Facts, Field};
use super::darwin_panic_head::Head;
use super::darwin_panic_lines::{after, digits, is_register_line, note, number, panic_of};
use super::darwin_panic_stack::{self as stacks, Panic, Who};
use super::darwin_panic_view::{Shape, View, unescaped};
use super::darwin_panic_words::{self as words, Said, What};
use super::{atos, lex};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os, Remark};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Span};
use crate::note::Note;

/// Longest title of a stack, in bytes.
pub(super) const TITLE: usize = 400;

/// Which lines come next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) enum Section {
    #[default]
    Any,
    /// The kexts of the backtrace.
    Ranges,
    /// All kexts.
    List,
    /// The value of the field before.
    Value(Field),
    /// Rows of return addresses, as PowerPC has them.
    Rows,
}

/// The reader of one text.
pub struct Log<'t> {
    pub(super) text: &'t [u8],
    pub(super) shape: Shape,
    pub(super) views: Vec<View<'t>>,
    pub(super) capture: Capture,
    facts: Facts,
    pub(super) panic: Panic,
    /// Lines of the panics.
    pub(super) lines: Vec<u32>,
    pub(super) head: Option<Head<'t>>,
    pub(super) section: Section,
    /// The kext that was listed last and is no dependency.
    pub(super) listed_kext: Option<String>,
    who: Who,
    pub(super) trap: Option<u64>,
    pub(super) cr2: Option<u64>,
    /// Line of the latest frame or of what kstack wrote below it.
    pub(super) frame_line: u32,
    /// Lines that kstack wrote for addresses in words, with what they call them.
    notes: Vec<(Vec<u8>, RawFrame)>,
    pub(super) broken: Vec<u32>,
    /// Lines behind the next that are read already.
    pub(super) skip: usize,
}

impl<'t> Log<'t> {
    /// A reader of `text`, which begins behind so many lines of the input.
    pub fn new(text: &'t [u8], before: u32) -> Log<'t> {
        let shape = Shape::of(text);
        let numbered = |view: View<'t>| View { number: view.number.saturating_add(before), ..view };
        let views = lex::lines(text).map(|line| numbered(shape.view(&line))).collect();
        Log {
            text,
            shape,
            views,
            capture: Capture::default(),
            facts: Facts::default(),
            panic: Panic::new(1, None, None),
            lines: Vec::new(),
            head: None,
            section: Section::Any,
            listed_kext: None,
            who: Who::default(),
            trap: None,
            cr2: None,
            frame_line: 0,
            notes: Vec::new(),
            broken: Vec::new(),
            skip: 0,
        }
    }

    /// The pieces of the text that are panics of different boots; one where there is nothing to tell.
    pub fn boots(&self) -> Vec<Range<usize>> {
        let starts: Vec<usize> = (0..self.views.len()).filter(|at| panic_of(self.views[*at].body).is_some()).collect();
        let mut pieces: Vec<(Range<usize>, _)> = Vec::new();
        for (n, at) in starts.iter().enumerate() {
            let end = starts.get(n + 1).map_or(self.views.len(), |next| self.preamble(*next));
            let from = if n == 0 { 0 } else { self.preamble(*at) };
            let mut facts = Facts::default();
            for view in &self.views[from..end.max(from)] {
                if let Some((field @ (Field::Id(_) | Field::Slide(_)), value)) = fields::field(view.body) {
                    facts.take(field, &value, view.number, &self.shape);
                }
            }
            let bytes = self.start_of(from)..self.start_of(end);
            match pieces.last_mut().filter(|(_, boot)| !differ(boot, &facts.boot())) {
                Some((piece, boot)) => {
                    piece.end = bytes.end;
                    *boot = (boot.0.or(facts.boot().0), boot.1.or(facts.boot().1));
                }
                None => pieces.push((bytes, facts.boot())),
            }
        }
        pieces.into_iter().map(|(bytes, _)| bytes).collect()
    }

    fn start_of(&self, view: usize) -> usize {
        self.views.get(view).map_or(self.text.len(), |view| view.start as usize)
    }

    /// Where what stands before the panic on line `at` begins: date and UUID of the report.
    fn preamble(&self, at: usize) -> usize {
        const BEFORE: &[&[u8]] = &[b"***", b"Anonymous UUID:", b"Interval Since Last", b"Panics Since Last", b"Debugger"];
        let is_date =
            |body: &[u8]| [b"Mon ", b"Tue ", b"Wed ", b"Thu ", b"Fri ", b"Sat ", b"Sun "].iter().any(|day| body.starts_with(*day));
        let fits = |body: &[u8]| body.is_empty() || is_date(body) || BEFORE.iter().any(|word| body.starts_with(word));
        (0..at).rev().take_while(|before| fits(self.views[*before].body)).last().unwrap_or(at)
    }

    /// Reads all lines.
    pub fn read(mut self) -> Capture {
        let mut at = 0;
        while let Some(view) = self.views.get(at).copied() {
            let next = self.views.get(at + 1).copied().filter(|next| !next.body.is_empty());
            at += 1 + usize::from(self.line(&view, next.as_ref())) + std::mem::take(&mut self.skip);
        }
        self.finish()
    }

    /// Takes one line; gives back whether the one behind belongs to it and is taken, too.
    fn line(&mut self, view: &View<'t>, next: Option<&View<'t>>) -> bool {
        if view.body.is_empty() {
            self.close_head();
            return false;
        }
        if self.own(view) || self.row(view) {
            return false;
        }
        if let Some(taken) = self.frame(view, next) {
            return taken;
        }
        if let Section::Value(field) = self.section {
            self.section = Section::Any;
            if self.facts.take(field, &unescaped(view.body), view.number, &self.shape) {
                return false;
            }
        }
        if self.panic_line(view) || self.heading(view) || self.words(view) {
            return false;
        }
        if let Some(taken) = self.field(view, next) {
            return taken;
        }
        self.kext(view, next)
    }

    /// A line that kstack wrote below another.
    fn own(&mut self, view: &View<'_>) -> bool {
        if view.number == self.frame_line + 1 && atos::is_location(view.body) {
            self.frame_line = view.number;
            if let Some(frame) = self.panic.latest_frame() {
                frame.notes += 1;
            }
            return true;
        }
        let Some((label, frame)) = note(view) else { return false };
        self.notes.push((label, frame));
        true
    }

    /// `0x000952D8 0x000957F0 …`, below `Backtrace:`: the return addresses of eight frames (`dump_backtrace` in osfmk/ppc/model_dep.c,
    /// xnu 792 and 1228).
    fn row(&mut self, view: &View<'_>) -> bool {
        let address = |word: &[u8]| lex::hex(word).filter(|_| word.len() == 10);
        if self.section != Section::Rows || !lex::words(view.body).all(|word| address(word).is_some()) {
            return false;
        }
        for word in lex::words(view.body) {
            let at = (view.at + word.as_ptr() as usize - view.body.as_ptr() as usize) as u32;
            let address = address(word).map(Avma);
            self.panic.frame(RawFrame {
                address,
                text: Span { start: at, end: at + word.len() as u32 },
                line: view.number,
                line_start: view.start,
                // The chain ends in a frame that nobody called.
                reliable: address != Some(Avma(0)),
                ..RawFrame::default()
            });
        }
        self.frame_line = view.number;
        true
    }

    pub(super) fn say(&mut self, said: &Said, at: impl Fn(usize) -> usize) {
        let frame = self.frame_of(said, at);
        self.panic.said(said.what, frame);
    }

    fn frame_of(&self, said: &Said, at: impl Fn(usize) -> usize) -> RawFrame {
        let number = |start: usize| {
            let line = self.views.binary_search_by_key(&(start as u64), |view| view.start);
            line.map_or(1, |line| self.views[line].number)
        };
        stacks::frame_of(said, self.text, number, at)
    }

    pub(super) fn remark(&mut self, (line, line_start): (u32, u64), text: String) {
        self.capture.remarks.push(Remark { line, line_start, text });
    }

    /// Lines that announce frames, or say whose they are.
    fn heading(&mut self, view: &View<'_>) -> bool {
        let body = view.body;
        let title = lex::text(&body[..body.len().min(TITLE)]);
        if body == b"Backtrace:" {
            self.close_head();
            let who = std::mem::take(&mut self.who);
            self.panic.heading(view.number, &title, None, who);
            self.section = Section::Rows;
            return true;
        } else if body.starts_with(b"Backtrace")
            && (body.starts_with(b"Backtrace (CPU ") || memmem::find(body, b"Return Address").is_some())
        {
            self.close_head();
            let who = std::mem::take(&mut self.who);
            self.panic.heading(view.number, &title, after(body, b"(CPU ").and_then(number), who);
        } else if let Some(rest) = after(body, b"hread: 0x").filter(|rest| memmem::find(rest, b"backtrace: 0x").is_some()) {
            self.close_head();
            let tid = after(rest, b"tid: ").map(|tid| lex::text(&tid[..digits(tid)])).filter(|tid| !tid.is_empty());
            let who = std::mem::take(&mut self.who);
            self.panic.heading(view.number, &title, None, Who { tid, ..who });
        } else if body.starts_with(b"Panicked task 0x") || (body.starts_with(b"Task 0x") && memmem::find(body, b": pid ").is_some()) {
            self.close_head();
            self.who = stacks::task(body);
            if body.starts_with(b"Panicked") {
                self.panic.whose(self.who.clone());
            }
        } else if let Some(rest) = after(body, b"rocess name corresponding to current thread")
            .filter(|_| body.starts_with(b"BSD p") || body.starts_with(b"Process"))
        {
            self.close_head();
            let name = after(rest, b": ").map(|name| lex::text(name.trim_ascii())).filter(|name| !name.is_empty());
            self.panic.whose(Who { process: name, ..Who::default() });
        } else {
            return false;
        }
        self.section = Section::Any;
        true
    }

    /// Registers, cores, and whatever else has addresses in words.
    pub(super) fn words(&mut self, view: &View<'t>) -> bool {
        let at = |n: usize| view.start as usize + view.at + n;
        if let Some((cpu, said)) = words::core(view.body, &self.shape) {
            self.close_head();
            let frames = said.iter().map(|said| self.frame_of(said, at)).collect();
            self.panic.core(view.number, cpu, frames);
            for said in words::said(view.body, &self.shape).iter().filter(|said| said.what == What::Retired) {
                self.say(said, at);
            }
            return true;
        }
        self.registers(view);
        let (all, known) = (words::said(view.body, &self.shape), is_register_line(view.body));
        if known {
            self.close_head();
        }
        if !known && self.head.is_some() {
            return self.more_head(view);
        }
        all.iter().for_each(|said| self.say(said, at));
        known || !all.is_empty()
    }

    /// A field, with its value here, on the next line, or broken onto it.
    fn field(&mut self, view: &View<'_>, next: Option<&View<'_>>) -> Option<bool> {
        let (field, value) = fields::field(view.body)?;
        self.close_head();
        self.section = Section::Any;
        if value.is_empty() {
            self.section = if matches!(field, Field::Build | Field::Version) { Section::Value(field) } else { Section::Any };
            return Some(false);
        }
        if matches!(field, Field::Id(_) | Field::Slide(_) | Field::Base(_))
            && let Some(next) = next
        {
            let whole = [&value[..], lex::words(next.body).next().unwrap_or_default()].concat();
            let (mut alone, mut both) = (Facts::default(), Facts::default());
            if !alone.take(field, &value, view.number, &self.shape) && both.take(field, &whole, view.number, &self.shape) {
                self.facts.take(field, &whole, view.number, &self.shape);
                return Some(true);
            }
        }
        self.facts.take(field, &value, view.number, &self.shape);
        Some(false)
    }

    pub(super) fn close_panic(&mut self) {
        self.close_head();
        let mut panic = std::mem::replace(&mut self.panic, Panic::new(1, None, None));
        for (label, frame) in std::mem::take(&mut self.notes) {
            panic.note(&label, frame, self.text);
        }
        let arch = self.arch();
        self.capture.stacks.extend(panic.finish(self.text, arch));
    }

    fn arch(&self) -> Option<Arch> {
        self.facts.arch().or(self.shape.arch)
    }

    fn finish(mut self) -> Capture {
        self.close_panic();
        self.complain();
        let arch = self.arch();
        let mach_kernel = |frame: &RawFrame| *unescaped(frame.module.of(self.text, frame.line_start)) == *b"mach_kernel";
        let named = self.capture.stacks.iter().flat_map(|stack| &stack.frames).any(mach_kernel);
        let mut images = self.facts.claims(if named { "mach_kernel" } else { "kernel" });
        images.append(&mut self.capture.images);
        Capture {
            format: "darwin-panic",
            os: Some(Os::Darwin),
            arch,
            kernel_name: named.then(|| "mach_kernel".to_string()),
            slide: self.facts.slide(arch),
            basis: Some(Basis::Runtime),
            kernel_version: self.facts.version,
            os_build: self.facts.build,
            images,
            ..self.capture
        }
    }

    /// Says what was damaged, and what is there more than once.
    fn complain(&mut self) {
        let list = |lines: &[u32]| lines.iter().take(8).map(u32::to_string).collect::<Vec<_>>().join(", ");
        let mut say = |text: String| self.capture.notes.push(Note::warning("", text));
        let mut broken = [&self.broken[..], &self.facts.damaged].concat();
        broken.sort_unstable();
        if !broken.is_empty() {
            let (n, lines) = (broken.len(), list(&broken));
            say(format!(
                "{n} lines with an address, UUID or name that was cut, wrapped or changed are not used, line {lines}: a value that is not whole proves nothing; use the report as the system wrote it"
            ));
        }
        if self.lines.len() > 1 {
            say(format!("{} panics in one text, on lines {}; the title is that of the first", self.lines.len(), list(&self.lines)));
        }
        if !self.facts.contradicting.is_empty() {
            let lines = list(&self.facts.contradicting);
            say(format!(
                "the text has more than one slide, line {lines} contradicts an earlier one; the first is used: read panics of several boots apart"
            ));
        }
    }
}

/// Whether two boots are known not to be one.
fn differ<A: PartialEq, B: PartialEq>(one: &(Option<A>, Option<B>), two: &(Option<A>, Option<B>)) -> bool {
    one.0.is_some() && two.0.is_some() && one.0 != two.0 || one.1.is_some() && two.1.is_some() && one.1 != two.1
}

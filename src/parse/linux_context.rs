//! Puts the stacks together that one context of a Linux kernel prints.
//!
//! A stack begins at the first frame behind a heading and ends at the first line that cannot be of it. Between heading and frame
//! some foreign lines may stand; within a stack only register dumps, marks, and, where the log does not say who printed a line, a
//! few lines of somebody else.

use super::lex;
use super::linux_code;
use super::linux_fault::{Place, Subject, is_code};
use super::linux_frame::{self, Trace};
use super::linux_headings::{Heading, heading, headline, is_cpu};
use super::linux_locks::{self, LockReader, Told};
use super::linux_pc;
use super::linux_prefix::{Context, Record};
use super::linux_symbol;
use super::linux_task::{self, Who};
use crate::model::addr::Arch;
use crate::model::capture::Headline;
use crate::model::code::Code;
use crate::model::lock::Annotations;
use crate::model::stack::{RawFrame, Role, Span, Stack, StackKind};

/// How many foreign lines may stand between a heading and the first frame.
pub(super) const PATIENCE: u8 = 6;
/// How many lines of others may stand within a stack, where nobody says who printed a line.
const FOREIGN: u8 = 3;

/// What a report says after its headline.
const SECOND: &[&[u8]] = &[b"Oops: ", b"Oops[#", b"Internal error: ", b"invalid opcode: ", b"INFO: lockdep is turned off"];

/// What the readers of a log have found together.
#[derive(Default)]
pub struct Found {
    /// Complete stacks, in the order of their ends.
    pub stacks: Vec<Stack>,
    /// Lines that say what went wrong.
    pub headlines: Vec<Headline>,
    /// Architecture, once a line told it.
    pub arch: Option<Arch>,
    /// The log has caller ids: what has none needs a heading to be believed.
    pub callers: bool,
    /// The latest line was no part of a stack and can hold facts about the machine.
    pub facts: bool,
    /// What was said about the locks of tasks.
    pub locks: Vec<Told>,
}

/// The reader of one context.
pub struct Reader {
    context: Context,
    /// The stack that frames belong to; it has at least one.
    pub(super) stack: Option<Stack>,
    /// Its frames, moved to it at its end: so that it takes no more memory than it needs.
    pub(super) frames: Vec<RawFrame>,
    /// Whether the stack is one even with a single frame, because a heading announced it.
    announced: bool,
    /// How many more foreign lines the latest heading holds for.
    pub(super) patience: u8,
    /// Whether that heading was `Call Trace:`.
    pub(super) trace: bool,
    /// Foreign lines since the latest frame.
    foreign: u8,
    /// A register dump stands within the stack.
    pub(super) dump: bool,
    /// A single address that is no stack comes next.
    place: bool,
    /// Kind and title of the next stack.
    kind: StackKind,
    title: Option<String>,
    who: Who,
    /// Line of the first heading that the next stack has.
    begins: Option<u32>,
    /// Where execution was, until a stack takes it.
    pub(super) pc: Option<RawFrame>,
    /// The place that led the latest stack which had one.
    pub(super) led: Option<Place>,
    /// The code around `pc`.
    pub(super) code: Option<Code>,
    /// What a `Code:` line would be about.
    pub(super) subject: Subject,
    /// The report is over; what is dumped again belongs to no stack.
    pub(super) over: bool,
    /// The work queue that the next stack serves.
    workqueue: Option<String>,
    locks: LockReader,
}

impl Reader {
    /// A reader that has seen nothing.
    pub fn new(context: Context) -> Reader {
        Reader {
            context,
            stack: None,
            frames: Vec::new(),
            announced: false,
            patience: 0,
            trace: false,
            foreign: 0,
            dump: false,
            place: false,
            kind: StackKind::Crash,
            title: None,
            who: Who::default(),
            begins: None,
            pc: None,
            led: None,
            code: None,
            subject: Subject::Nothing,
            over: false,
            workqueue: None,
            locks: LockReader::default(),
        }
    }

    /// Takes one record of the context.
    pub fn record(&mut self, record: &Record<'_>, report: &[u8], found: &mut Found) {
        let line = record.text.trim_ascii();
        if line.is_empty() {
            if self.stack.is_some() {
                self.close(found);
            }
        } else if let Some(trace) = linux_frame::trace(record) {
            self.frame(trace, record, report, found);
        } else if linux_symbol::is_mark(line) || linux_code::is_listing(line) {
            self.foreign = 0;
        } else if let Some((pc, arch)) = linux_pc::pc(record) {
            found.arch = found.arch.or(arch);
            self.pc(pc, found);
        } else {
            self.words(line, record, report, found);
        }
    }

    fn words(&mut self, line: &[u8], record: &Record<'_>, report: &[u8], found: &mut Found) {
        self.place = false;
        found.headlines.extend(headline(line).map(|at| headline_at(at, record)));
        if let Some(who) = linux_task::shown(line) {
            self.close(found);
            self.alone(found);
            self.title = self.title.take().filter(|title| !is_cpu(title));
            self.begins = Some(record.line);
            self.announce(StackKind::Thread, who);
        } else if let Some(who) = linux_task::dumped(line) {
            self.close(found);
            (self.who, self.over, self.workqueue) = (who, false, None);
            self.begins.get_or_insert(record.line);
            self.patience = PATIENCE;
            found.facts = true;
        } else if line.starts_with(b"Code: ") {
            self.code(record);
            // Of a register dump in the stack, or what follows the stack.
            if !self.dump && self.stack.is_some() {
                self.close(found);
            }
        } else if let Some(heading) = heading(line) {
            self.heading(heading, line, record, report, found);
        } else if (self.stack.is_some() || self.trace) && linux_pc::is_register_dump(line) {
            self.foreign = 0;
        } else {
            found.facts = true;
            self.locks.line(line, record.line, &mut found.locks);
            self.foreign(line, report, found);
        }
    }

    fn announce(&mut self, kind: StackKind, who: Who) {
        (self.kind, self.who, self.patience, self.pc, self.over) = (kind, who, PATIENCE, None, false);
        self.workqueue = None;
    }

    fn heading(&mut self, heading: Heading, line: &[u8], record: &Record<'_>, report: &[u8], found: &mut Found) {
        self.close(found);
        self.patience = PATIENCE;
        match heading {
            Heading::Trace => {
                self.trace = true;
                self.begins.get_or_insert(record.line);
                self.glued(record, report, found);
            }
            Heading::Stack(kind) => {
                self.alone(found);
                (self.kind, self.title, self.who) = (kind, Some(lex::text(line)), linux_task::mentioned(line));
                (self.pc, self.workqueue, self.begins) = (None, None, Some(record.line));
            }
            Heading::Report(kind) => {
                if !SECOND.iter().any(|second| line.starts_with(second)) {
                    self.alone(found);
                }
                if let Some(told) = linux_locks::blocked(line, record.line) {
                    // Not a report of its own: what follows is the stack of the owner.
                    found.locks.push(told);
                    return;
                }
                (self.kind, self.over) = (kind, false);
                self.locks.reset();
                self.begins.get_or_insert(record.line);
                if self.title.is_none() || !SECOND.iter().any(|second| line.starts_with(second)) {
                    (self.title, self.who) = (Some(lex::text(line)), linux_task::mentioned(line));
                }
            }
            Heading::Place => self.place = true,
            Heading::End => {
                self.alone(found);
                self.over = line.starts_with(b"---[ end ");
                (self.patience, self.pc, self.title, self.begins) = (0, None, None, None);
                self.locks.reset();
                self.locks.listed = line.starts_with(b"Showing all locks held");
            }
            Heading::Facts => {
                found.facts = true;
                if let Some(queue) = line.strip_prefix(b"Workqueue:") {
                    self.workqueue = Some(lex::text(queue.trim_ascii()));
                }
                let told = linux_task::accessed(line).or_else(|| linux_task::named(line).filter(|_| self.who.pid.is_none()));
                self.who = told.unwrap_or(std::mem::take(&mut self.who));
            }
        }
    }

    /// `Call Trace: [<c04d5a14>] f+0x1/0x2`: older kernels went on in the line.
    fn glued(&mut self, record: &Record<'_>, report: &[u8], found: &mut Found) {
        let Some(at) = memchr::memmem::find(record.text, b"race:").map(|at| at + 5) else { return };
        let rest = Record { at: record.at + at as u32, text: &record.text[at..], ..*record };
        if let Some(trace) = linux_frame::trace(&rest) {
            self.frame(trace, &rest, report, found);
        }
    }

    fn frame(&mut self, trace: Trace, record: &Record<'_>, report: &[u8], found: &mut Found) {
        if self.stack.is_none() && self.patience == 0 && found.callers && self.context == Context::Bare {
            return;
        }
        if self.place {
            (self.place, self.patience) = (false, 0);
            return;
        }
        match trace {
            Trace::One(frame) => {
                let bare = frame.symbol.is_empty() && frame.size.is_none();
                // An address alone, or a name without offset, can be many things outside of a stack.
                if self.stack.is_none() && self.patience == 0 && (bare || frame.offset.is_none()) {
                    return;
                }
                self.push(frame, found);
            }
            Trace::Pair(callee, caller) => {
                found.arch = found.arch.or(Some(Arch::Arm));
                if !self.continues(&callee, record, report) {
                    self.push(callee, found);
                }
                self.push(caller, found);
            }
            Trace::Filler => {}
        }
    }

    /// Whether the latest frame is of the function that an arm line starts with.
    fn continues(&self, callee: &RawFrame, record: &Record<'_>, report: &[u8]) -> bool {
        let latest = self.frames.iter().rev().find(|frame| frame.role != Role::Inline).filter(|frame| frame.role == Role::Call);
        latest.is_some_and(|latest| {
            let name = callee.symbol.of(report, record.line_start);
            latest.symbol.of(report, latest.line_start) == name && (!name.is_empty() || latest.address == callee.address)
        })
    }

    /// Adds a frame, to a new stack if there is none.
    pub(super) fn push(&mut self, frame: RawFrame, found: &Found) {
        (self.foreign, self.dump) = (0, false);
        if self.stack.is_none() {
            self.open(&frame, found);
        }
        self.frames.push(frame);
    }

    /// Who the next stack belongs to. Old kernels say it with the locks only.
    fn take_who(&mut self, told: &[Told]) -> Who {
        let who = std::mem::take(&mut self.who);
        if self.kind != StackKind::Crash || who.pid.is_some() || who.comm.is_some() {
            return who;
        }
        let same = |pid| !matches!(self.context, Context::Task(id) if i64::try_from(id) != Ok(pid));
        let subject = self.locks.subject(told).filter(|subject| same(subject.pid));
        subject.map_or(who.clone(), |subject| Who { pid: Some(subject.pid), comm: Some(subject.process.clone()), ..who })
    }

    pub(super) fn open(&mut self, frame: &RawFrame, found: &Found) {
        let who = self.take_who(&found.locks);
        let workqueue = self.workqueue.take();
        let current = matches!(self.kind, StackKind::Crash | StackKind::Irq) && !who.other;
        let (task, cpu) = match self.context {
            Context::Task(id) if current => (i64::try_from(id).ok(), None),
            Context::Cpu(id) if current => (None, u32::try_from(id).ok()),
            _ => (None, None),
        };
        let pc = self.pc.take().filter(|pc| is_code(pc, frame));
        self.stack = Some(Stack {
            kind: self.kind,
            title: self.title.take(),
            pid: who.pid.or(task),
            tid: who.tid,
            process: who.comm,
            cpu: who.cpu.or(cpu),
            state: who.state,
            count: 1,
            code: self.code.take().into_iter().filter(|_| pc.is_some()).collect(),
            line: self.begins.take().unwrap_or(pc.map_or(frame.line, |pc| pc.line)),
            annotations: workqueue.map(|queue| Box::new(Annotations { workqueue: Some(queue), ..Annotations::default() })),
            ..Stack::default()
        });
        self.led = pc.as_ref().map(Place::of).or(self.led);
        self.frames.extend(pc);
        self.announced = self.patience > 0;
    }

    /// A line that says nothing about stacks.
    fn foreign(&mut self, line: &[u8], report: &[u8], found: &mut Found) {
        let named = matches!(self.context, Context::Task(_) | Context::Cpu(_));
        if !named && linux_task::is_programs(line) {
            return;
        }
        if self.stack.is_none() {
            self.patience = self.patience.saturating_sub(1);
            self.trace &= self.patience > 0;
            self.begins = self.begins.filter(|_| self.patience > 0);
            return;
        }
        self.foreign += 1;
        let outermost = self.frames.last().is_some_and(|frame| linux_symbol::is_entry(frame.symbol.of(report, frame.line_start)));
        if named || outermost || self.foreign > FOREIGN {
            self.close(found);
        }
    }

    /// The log is over.
    pub fn end(&mut self, found: &mut Found) {
        self.close(found);
        self.alone(found);
    }

    /// Ends the stack, or the wait for one.
    pub fn close(&mut self, found: &mut Found) {
        self.trace = false;
        let Some(stack) = self.stack.take() else { return };
        // A frame that nobody announced is a symbol that some message mentions.
        if self.announced || self.frames.len() > 1 {
            found.stacks.push(Stack { frames: self.frames.to_vec().into(), ..stack });
        }
        self.frames.clear();
        (self.patience, self.dump, self.foreign) = (0, false, 0);
        self.kind = StackKind::Crash;
    }
}

/// The headline that begins `at` bytes behind the blanks of a record.
fn headline_at(at: usize, record: &Record<'_>) -> Headline {
    let text = record.text.trim_ascii_end();
    let start = record.at + (text.len() - text.trim_ascii_start().len() + at) as u32;
    let end = record.at + text.len() as u32;
    Headline { line: record.line, line_start: record.line_start, text: Span { start, end } }
}

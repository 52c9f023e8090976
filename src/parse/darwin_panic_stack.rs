//! Puts the stacks of one macOS panic together: what panicked, other threads, cores, and the addresses that stand in words.

use memchr::memrchr;

use super::darwin_panic_words::{Said, What};
use super::lex;
use crate::model::addr::{Arch, Avma};
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack, StackKind};

/// Functions of xnu's that enter the kernel on x86: the frame behind them holds the interrupted pc itself, not a return address
/// (osfmk/x86_64/idt64.s).
const VECTORS: &[&[u8]] = &[b"return_from_trap", b"hndl_alltraps", b"trap_from_kernel", b"hndl_allintrs"];

/// Whose frames come next.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
enum Whose {
    /// The panic's own.
    #[default]
    Crash,
    /// Those of the latest of the other stacks.
    Other,
}

/// What a line says about the task that stands there.
#[derive(Clone, Default, Debug)]
pub struct Who {
    /// Process id.
    pub pid: Option<i64>,
    /// Process name.
    pub process: Option<String>,
    /// Thread id.
    pub tid: Option<String>,
}

/// One panic, while it is read.
#[derive(Default, Debug)]
pub struct Panic {
    crash: Stack,
    aside: Stack,
    cores: Vec<Stack>,
    others: Vec<Stack>,
    whose: Whose,
    /// A heading announced the panic's own backtrace.
    headed: bool,
    /// Where execution was, as words and registers say.
    pcs: Vec<u64>,
    /// The interrupted link registers, without signatures.
    lrs: Vec<u64>,
}

impl Panic {
    /// A panic that begins on `line`, on processor `cpu`.
    pub fn new(line: u32, cpu: Option<u32>, title: Option<String>) -> Panic {
        let crash = Stack { kind: StackKind::Crash, title, cpu, line, count: 1, ..Stack::default() };
        let aside = Stack { kind: StackKind::Crash, aside: true, count: 1, ..Stack::default() };
        Panic { crash, aside, ..Panic::default() }
    }

    /// Takes the addresses that were printed before the panic's first line.
    pub fn adopt(&mut self, before: Panic) {
        self.aside.line = before.aside.line;
        self.aside.frames = before.aside.frames;
        self.pcs = before.pcs;
    }

    /// Whether frames of a backtrace were found.
    pub fn has_backtrace(&self) -> bool {
        self.crash.frames.iter().any(|frame| frame.role != Role::Fault)
    }

    /// A heading of frames. The first is the panic's own; what follows are other threads or processors.
    pub fn heading(&mut self, line: u32, title: &str, cpu: Option<u32>, who: Who) {
        if !self.headed && !self.has_backtrace() {
            self.headed = true;
            self.crash.cpu = self.crash.cpu.or(cpu);
            return self.whose(who);
        }
        let kind = if cpu.is_some() { StackKind::Irq } else { StackKind::Thread };
        let title = Some(title.to_string());
        self.others.push(Stack { kind, title, cpu, line, count: 1, pid: who.pid, process: who.process, tid: who.tid, ..Stack::default() });
        self.whose = Whose::Other;
    }

    /// Says who panicked, as far as that is not known.
    pub fn whose(&mut self, who: Who) {
        let crash = &mut self.crash;
        crash.pid = crash.pid.or(who.pid);
        crash.process = crash.process.take().or(who.process);
        crash.tid = crash.tid.take().or(who.tid);
    }

    /// Takes a frame of a backtrace.
    pub fn frame(&mut self, frame: RawFrame) {
        self.latest().frames.push(frame);
    }

    /// The latest frame of a backtrace.
    pub fn latest_frame(&mut self) -> Option<&mut RawFrame> {
        self.latest().frames.last_mut()
    }

    fn latest(&mut self) -> &mut Stack {
        match self.whose {
            Whose::Other if !self.others.is_empty() => self.others.last_mut().expect("not empty"),
            _ => &mut self.crash,
        }
    }

    /// Takes an address that stands in words.
    pub fn said(&mut self, what: What, frame: RawFrame) {
        let address = frame.address.map_or(0, |address| address.0);
        match what {
            What::Lr => self.lrs.push(address),
            What::Fault | What::Pc => self.pcs.push(address),
            What::Caller | What::Retired => {}
        }
        if what == What::Fault && self.crash.frames.is_empty() {
            return self.crash.frames.push(RawFrame { role: Role::Fault, ..frame });
        }
        if self.aside.frames.is_empty() {
            self.aside.line = frame.line;
        }
        self.aside.frames.push(frame);
    }

    /// Takes what a line says about one core.
    pub fn core(&mut self, line: u32, cpu: u32, frames: Vec<RawFrame>) {
        if !frames.is_empty() {
            self.cores.push(Stack { kind: StackKind::Irq, cpu: Some(cpu), line, count: 1, frames: frames.into(), ..Stack::default() });
        }
    }

    /// Lets a line of kstack's own, below the one that has the address, stand for it.
    pub fn note(&mut self, label: &[u8], note: RawFrame, text: &[u8]) {
        let stacks = [&mut self.crash, &mut self.aside].into_iter().chain(&mut self.cores);
        let same = |frame: &&mut RawFrame| {
            frame.address == note.address && frame.line < note.line && frame.label.of(text, frame.line_start) == label && !is_note(frame)
        };
        if let Some(frame) = stacks.flat_map(|stack| &mut stack.frames).filter(same).last() {
            *frame = RawFrame { lookup: frame.lookup, role: frame.role, reliable: frame.reliable, ..note };
        }
    }

    /// The stacks, with what can only be known when all frames are there: the panic's own, what stands beside it, the others.
    pub fn finish(mut self, text: &[u8], arch: Option<Arch>) -> Vec<Stack> {
        self.entered(text, arch);
        self.fault_in_backtrace();
        let mut others: Vec<Stack> = self.cores.into_iter().chain(self.others).collect();
        others.sort_by_key(|stack| stack.line);
        let stacks = [self.crash, self.aside].into_iter().chain(others);
        let mut stacks: Vec<Stack> = stacks.filter(|stack| !stack.frames.is_empty()).collect();
        if !matches!(arch, Some(Arch::I386 | Arch::Ppc)) {
            stacks.iter_mut().filter(|stack| !stack.aside).for_each(split_user);
        }
        stacks
    }

    /// A fault that the backtrace runs through is a frame of it already; the words that tell of it then stand beside.
    fn fault_in_backtrace(&mut self) {
        let mut frames = self.crash.frames.iter();
        let Some(fault) = frames.next().copied().filter(|frame| frame.role == Role::Fault) else { return };
        if !frames.any(|frame| frame.address == fault.address) {
            return;
        }
        self.crash.frames.remove(0);
        let at = self.aside.frames.partition_point(|frame| (frame.line_start, frame.text.start) < (fault.line_start, fault.text.start));
        self.aside.frames.insert(at, RawFrame { role: Role::Call, ..fault });
        self.aside.line = self.aside.frames[0].line;
    }

    /// Marks the frames behind an exception's entry.
    fn entered(&mut self, text: &[u8], arch: Option<Arch>) {
        if matches!(arch, Some(Arch::Arm64 | Arch::Arm64e)) {
            // The interrupted lr, where it is the first time; what it was at the fault nobody knows.
            let lrs = &self.lrs;
            let entered = self.crash.frames.iter_mut().filter(|frame| frame.role == Role::Call);
            if let Some(frame) = entered.into_iter().find(|frame| frame.address.is_some_and(|lr| lrs.contains(&lr.0))) {
                (frame.role, frame.reliable) = (Role::Regs, false);
            }
            return;
        }
        for stack in std::iter::once(&mut self.crash).chain(&mut self.others) {
            let mut behind = false;
            for frame in stack.frames.iter_mut().filter(|frame| frame.role == Role::Call) {
                if behind || frame.address.is_some_and(|address| self.pcs.contains(&address.0)) {
                    frame.lookup = Lookup::Exact;
                }
                behind = VECTORS.contains(&frame.symbol.of(text, frame.line_start));
                // A call at a function's very end returns to where the next one begins: that is the name which was printed.
                if frame.lookup == Lookup::Return && frame.offset == Some(0) {
                    (frame.symbol, frame.offset) = (Span::default(), None);
                }
            }
        }
    }
}

/// User-mode frames end a kernel stack.
fn split_user(stack: &mut Stack) {
    let is_user = |frame: &RawFrame| frame.role != Role::Fault && frame.address.is_some_and(|address| (1..1 << 47).contains(&address.0));
    let kernel = stack.frames.iter().rposition(|frame| !is_user(frame)).map_or(0, |at| at + 1);
    stack.user_frames = stack.frames.split_off(kernel).into();
}

/// Whether a frame stands in a line of its own, which kstack wrote: only there an address in words has an image.
fn is_note(frame: &RawFrame) -> bool {
    !frame.label.is_empty() && !frame.module.is_empty()
}

/// The frame for an address in words, whose parts stand at `at` in the text.
pub fn frame_of(said: &Said, text: &[u8], number: impl Fn(usize) -> u32, at: impl Fn(usize) -> usize) -> RawFrame {
    // A label that was broken off its address stands on the line before: then that is the frame's line.
    let line_start = memrchr(b'\n', &text[..at(said.label.start)]).map_or(0, |at| at + 1);
    let span = |range: &std::ops::Range<usize>| Span {
        start: at(range.start).saturating_sub(line_start) as u32,
        end: (at(range.end - 1) + 1).saturating_sub(line_start) as u32,
    };
    let exact = matches!(said.what, What::Fault | What::Pc | What::Retired);
    let stale = said.what == What::Lr;
    RawFrame {
        address: Some(Avma(said.address)),
        line: number(line_start),
        line_start: line_start as u64,
        label: span(&said.label),
        text: span(&said.word),
        lookup: if exact { Lookup::Exact } else { Lookup::Return },
        role: if stale { Role::Regs } else { Role::Call },
        reliable: !stale,
        ..RawFrame::default()
    }
}

/// Reads `KEY 0x…: N pages, M threads: pid P: NAME` behind its key.
pub fn task(body: &[u8]) -> Who {
    let Some(at) = memchr::memmem::find(body, b"pid ") else { return Who::default() };
    let rest = &body[at + 4..];
    let colon = memchr::memchr(b':', rest).unwrap_or(rest.len());
    let pid = std::str::from_utf8(&rest[..colon]).ok().and_then(|digits| digits.trim().parse().ok());
    let process = rest.get(colon + 1..).map(|name| lex::text(name.trim_ascii())).filter(|name| !name.is_empty());
    Who { pid, process, tid: None }
}

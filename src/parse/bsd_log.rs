//! Stacks in what a BSD kernel prints to its console: at a panic, under its debugger, when a lock order is violated.
//!
//! ```text
//! panic: mtx_lock() of destroyed mutex @ sys/kern/sys_socket.c:316        what happened
//! cpuid = 0
//! KDB: stack backtrace:                                                   what begins a stack
//! vpanic() at vpanic+0x1e0/frame 0xfffffe004b9db6b0                       frames, see bsd_frame.rs
//! --- trap 0xc, rip = 0xH, rsp = 0xH, rbp = 0xH ---                       the frame below was interrupted there
//! --- syscall (198, FreeBSD ELF64, nosys), rip = 0xH, ... ---             here begins user space
//! ```
//! FreeBSD, NetBSD and OpenBSD have all this in common; who a stack belongs to is read by `bsd_heading`.

use super::bsd_frame::{self, Found, Style};
use super::bsd_frame_ports;
use super::bsd_heading::{self, Heading};
use super::bsd_joined;
use super::lex::{self, Line};
use super::linux_prefix::{self, Record};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Headline, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack, StackKind};

/// How many lines can stand between what begins a stack and its first frame.
const HEADING_LINES: u32 = 12;

/// How far behind the line that says what happened a stack can be its own, in lines.
const CRASH_LINES: u32 = 64;

/// How far behind `Fatal trap` the `panic: ` can be that is the same crash: lines of registers stand between (sys/amd64/amd64/trap.c).
const TRAP_LINES: u32 = 24;

/// Reads the whole of `text`.
pub fn parse(text: &[u8], format: &'static str, os: Os) -> Capture {
    let mut log = Log::new(text);
    // Lines are kept until it is known whether a frame goes on in them.
    let mut lines = lex::lines(text).peekable();
    let mut ahead: std::collections::VecDeque<Line<'_>> = std::collections::VecDeque::new();
    loop {
        while ahead.len() <= bsd_joined::MOST_CONTINUED {
            match lines.next() {
                Some(line) => ahead.push_back(line),
                None => break,
            }
        }
        let Some(line) = ahead.pop_front() else { break };
        let taken = log.line(&line, ahead.make_contiguous());
        ahead.drain(..taken);
    }
    log.finish(format, os)
}

/// How the frames of `text` are written, each way once.
pub fn styles(text: &[u8]) -> Vec<Style> {
    let mut styles = Vec::new();
    for line in lex::lines(text) {
        linux_prefix::records(&line, |record| {
            let style = bsd_frame::frame(record).map(|found| found.style).filter(|style| !styles.contains(style));
            styles.extend(style);
        });
    }
    styles
}

struct Log<'t> {
    text: &'t [u8],
    stacks: Vec<Stack>,
    headlines: Vec<Headline>,
    current: Option<Stack>,
    frames: Vec<RawFrame>,
    /// Number of the latest frame, where frames have one.
    number: Option<u64>,
    /// Whether the next frame is where a trap came in.
    trapped: bool,
    /// Whether the lines are those of a trap's registers.
    dump: bool,
    /// Whether the line before was one of registers.
    registers: bool,
    /// Where the trap came in that the current stack is of.
    pc: Option<u64>,
    /// What was said of the next stack.
    owner: bsd_heading::Owner,
    /// Where the debugger stopped last.
    stopped: Option<String>,
    /// The line that begins the next stack, and what kind it is of.
    heading: Option<(u32, Option<String>, StackKind)>,
    /// The line of the latest message that says what happened, and the message.
    crash: Option<(u32, String)>,
    /// The CPU on which the debugger was entered after it.
    crash_cpu: Option<u32>,
    /// Whether the debugger looks at another CPU than that.
    elsewhere: bool,
    arch: Option<Arch>,
    version: Option<String>,
}

impl<'t> Log<'t> {
    fn new(text: &'t [u8]) -> Log<'t> {
        Log {
            text,
            stacks: Vec::new(),
            headlines: Vec::new(),
            current: None,
            frames: Vec::new(),
            number: None,
            trapped: false,
            dump: false,
            registers: false,
            pc: None,
            owner: bsd_heading::Owner::default(),
            stopped: None,
            heading: None,
            crash: None,
            crash_cpu: None,
            elsewhere: false,
            arch: None,
            version: None,
        }
    }

    /// Takes a line in; gives back how many of the next ones belong to it.
    fn line(&mut self, line: &Line<'t>, rest: &[Line<'t>]) -> usize {
        let mut latest = None;
        linux_prefix::records(line, |record| {
            if let Some(before) = latest.replace(*record) {
                self.record(&before, &[]);
            }
        });
        latest.map_or(0, |last| self.record(&last, rest))
    }

    /// Takes a record in; only the last of a line goes on in the lines of `rest`.
    fn record(&mut self, record: &Record<'t>, rest: &[Line<'t>]) -> usize {
        let Some((found, lines)) = bsd_joined::joined(record, rest) else {
            self.other(record);
            return 0;
        };
        self.frame(found);
        lines
    }

    fn frame(&mut self, found: Found) {
        let Found { mut frame, number, inner, .. } = found;
        if number.is_some_and(|number| self.number.is_some_and(|last| number < last)) || number.is_some() != self.number.is_some() {
            self.close();
        }
        self.number = number;
        let first = self.current.is_none();
        if first {
            self.current = Some(self.stack(frame.line));
            // The place of every other function is in the line above its own.
            self.frames.extend(inner);
        }
        let interrupted = std::mem::take(&mut self.trapped) || self.is_pc(&frame);
        if interrupted && frame.role == Role::Call {
            // The program counter that the trap saved, no return address.
            (frame.lookup, frame.role) = (Lookup::Exact, Role::Regs);
        }
        // The address behind a call that never returns is that of another function: its name proves nothing.
        if frame.role == Role::Call && frame.lookup == Lookup::Return && frame.offset == Some(0) {
            frame.reliable = false;
        }
        if first && self.is_stop(&frame) {
            frame.lookup = Lookup::Exact;
        }
        self.frames.push(frame);
    }

    /// Whether a frame is the instruction at which the trap came in. That behind `calltrap` need not be: kernels without a debugger
    /// follow frame pointers alone, past the function that was interrupted (`stack_capture`, sys/x86/x86/stack_machdep.c).
    fn is_pc(&mut self, frame: &RawFrame) -> bool {
        let is_pc = self.pc.is_some() && frame.address.map(|address| address.0) == self.pc;
        self.pc = self.pc.filter(|_| !is_pc);
        is_pc
    }

    /// Whether a stack's first frame is the instruction at which the debugger stopped.
    fn is_stop(&self, frame: &RawFrame) -> bool {
        let name = frame.symbol.of(self.text, frame.line_start);
        let place = format!("{}+{:#x}", lex::text(name), frame.offset.unwrap_or(0));
        self.stopped.as_deref() == Some(&place) && frame.role == Role::Call
    }

    /// A stack that begins in that line, with what the lines before said about it.
    fn stack(&mut self, line: u32) -> Stack {
        let heading = self.heading.take().filter(|(at, ..)| line.saturating_sub(*at) <= HEADING_LINES);
        let (start, said, kind) = heading.unwrap_or((line, None, self.kind(line)));
        let crash = self.crash.as_ref().filter(|(at, _)| line.saturating_sub(*at) <= CRASH_LINES && kind == StackKind::Crash);
        let title = said.or(crash.map(|(_, message)| message.clone()));
        let mut owner = std::mem::take(&mut self.owner);
        self.stopped = owner.stopped.take().or(self.stopped.take());
        self.pc = owner.pc;
        Stack {
            kind,
            title,
            pid: owner.pid,
            tid: owner.tid,
            process: owner.process,
            cpu: owner.cpu,
            count: 1,
            line: start,
            ..Stack::default()
        }
    }

    fn close(&mut self) {
        if let Some(stack) = self.current.take() {
            self.stacks.push(Stack { frames: self.frames.to_vec().into(), ..stack });
            self.frames.clear();
        }
        (self.trapped, self.dump, self.number) = (false, false, None);
    }

    /// A line that is no frame: a boundary inside a stack, or its end and perhaps what begins the next.
    fn other(&mut self, record: &Record<'t>) {
        let text = record.text.trim_ascii();
        if self.current.is_some() && self.boundary(text) {
            return;
        }
        self.close();
        if text.is_empty() {
            return;
        }
        if let Some((Some(cpu), _)) = bsd_heading::prompt(text) {
            self.looks_at(cpu);
        }
        match bsd_heading::read(text, &mut self.owner) {
            Heading::Cpu(cpu) => self.looks_at(cpu),
            Heading::None => self.entered(text, record.line),
            Heading::Happened(from) => self.happened(record, from),
            Heading::Stack(kind) => self.heading = Some((record.line, None, kind.unwrap_or(self.kind(record.line)))),
            Heading::Titled(kind) => self.heading = Some((record.line, Some(lex::text(text)), kind)),
            Heading::Version(version) => self.version = self.version.take().or(Some(version)),
        }
    }

    /// The debugger shows that CPU from here on. The first one that it shows after a crash is the crash's.
    fn looks_at(&mut self, cpu: u32) {
        self.elsewhere = *self.crash_cpu.get_or_insert(cpu) != cpu;
    }

    /// A line that says what happened, from byte `from` of its words on.
    fn happened(&mut self, record: &Record<'t>, from: usize) {
        let message = &record.text.trim_ascii()[from..];
        let start = record.at + (lex::indent(record.text) + from) as u32;
        let end = start + message.len() as u32;
        self.headlines.push(Headline { line: record.line, line_start: record.line_start, text: Span { start, end } });
        let is_trap = |(at, trap): &(u32, String)| trap.starts_with("Fatal ") && record.line.saturating_sub(*at) <= TRAP_LINES;
        // `panic: page fault` repeats the trap in a word; whose it was stands between.
        if !(message.starts_with(b"panic: ") && self.crash.as_ref().is_some_and(is_trap)) {
            self.owner = bsd_heading::Owner::default();
        }
        self.crash = Some((record.line, lex::text(message)));
        (self.crash_cpu, self.elsewhere) = (None, false);
    }

    /// `[ thread pid N tid N ]` behind the stack of a crash: FreeBSD's debugger is entered by the very thread that printed it.
    fn entered(&mut self, text: &[u8], line: u32) {
        let happened = self.crash.as_ref().map_or(u32::MAX, |(at, _)| *at);
        let Some(stack) = self.stacks.last_mut().filter(|stack| stack.kind == StackKind::Crash && stack.line >= happened) else { return };
        let near = stack.frames.last().is_some_and(|frame| line.saturating_sub(frame.line) <= HEADING_LINES);
        if near && text.starts_with(b"[ thread pid ") && stack.tid.is_none() && (stack.pid.is_none() || stack.pid == self.owner.pid) {
            (stack.pid, stack.tid) = (self.owner.pid, self.owner.tid.clone());
        }
    }

    /// A stack of no special kind is the crash's own, if one was told of and the debugger is where it was.
    fn kind(&self, line: u32) -> StackKind {
        let near = self.crash.as_ref().is_some_and(|(at, _)| line.saturating_sub(*at) <= CRASH_LINES);
        if near && !self.elsewhere { StackKind::Crash } else { StackKind::Thread }
    }

    /// Whether a line stands inside of a stack: `--- trap … ---` and the address that NetBSD prints below.
    fn boundary(&mut self, text: &[u8]) -> bool {
        if let Some(what) = text.strip_prefix(b"--- ") {
            self.trapped = bsd_frame_ports::is_trap(what);
            return true;
        }
        if let Some(ended) = bsd_frame_ports::dump(text, &mut self.dump) {
            self.trapped = ended;
            return true;
        }
        if matches!(text, b"(KERNEL TRAP)" | b"(KERNEL INTERRUPT)") {
            self.trapped = true;
            return true;
        }
        // Behind registers FreeBSD's arm64 left a line empty.
        let registers = bsd_frame_ports::is_registers(text);
        if registers || std::mem::take(&mut self.registers) && text.is_empty() {
            self.registers = registers;
            return true;
        }
        // `7ae76591c2ba:`, `netbsd:Xintr+0x1:`, and the `?` of a stack that begins nowhere.
        let address = text.strip_suffix(b":").is_some_and(|word| !word.is_empty() && !word.contains(&b' '));
        // A function that an earlier run found inlined into the frame above.
        let inlined = text.ends_with(b" [inline]") && lex::words(text).count() == 3;
        if let Some(last) = self.frames.last_mut().filter(|_| inlined) {
            last.notes += 1;
        }
        address || inlined || text == b"?"
    }

    fn finish(mut self, format: &'static str, os: Os) -> Capture {
        self.close();
        let kernel_name = (os == Os::NetBsd).then(|| "netbsd".to_string());
        let arch = self.arch.or_else(|| arch(&self.stacks, self.text));
        Capture {
            format,
            os: Some(os),
            arch,
            kernel_version: self.version,
            basis: Some(Basis::Runtime),
            kernel_name,
            stacks: self.stacks,
            headlines: self.headlines,
            ..Capture::default()
        }
    }
}

/// The architecture, by the functions through which its kernel is entered.
fn arch(stacks: &[Stack], text: &[u8]) -> Option<Arch> {
    let outermost = stacks.iter().filter_map(|stack| stack.frames.last());
    outermost.take(64).find_map(|frame| match frame.symbol.of(text, frame.line_start) {
        b"amd64_syscall" | b"fast_syscall_common" | b"Xfast_syscall" | b"Xsyscall" | b"Xsyscall_untramp" => Some(Arch::X86_64),
        b"do_el0_sync" | b"handle_el0_sync" | b"el0_sync" => Some(Arch::Arm64),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_last_record_of_a_line_goes_on_below_it() {
        let text = format!("{}\n{}\n", "[1.000000]vpanic() at vpa ".repeat(2_000), "[1.000000]x ".repeat(5_000));
        let begin = std::time::Instant::now();
        assert!(parse(text.as_bytes(), "netbsd-log", Os::NetBsd).stacks.is_empty());
        assert!(begin.elapsed().as_secs() < 10);
        let cut = "[1.000000]vpanic() at vpa [1.000000]vpanic() at vpa\n[1.000000]nic+0x1\n";
        let stacks = parse(cut.as_bytes(), "netbsd-log", Os::NetBsd).stacks;
        assert_eq!(stacks.iter().map(|stack| stack.frames.len()).sum::<usize>(), 1);
    }
}

//! What Go programs write when they die or are asked for their stacks: gVisor's sentry, and others.
//!
//! ```text
//! panic: unable to activate mm: resource temporarily unavailable
//!
//! goroutine 442 [running]:
//! gvisor.dev/gvisor/pkg/sentry/kernel.(*Task).Activate(0xc003a96000)
//!         pkg/sentry/kernel/task_usermem.go:34 +0xc7
//! created by gvisor.dev/gvisor/pkg/sentry/kernel.(*Task).Start
//!         pkg/sentry/kernel/task_start.go:299 +0xfe
//! ```
//! Every goroutine is a stack, and so is every part of a report of the race detector. Lines are read by `go_lines.rs`.

use memchr::memmem;

use super::debugger_parts::Collector;
use super::go_lines::{self, Race};
use super::lex::{self, Line};
use super::{Confidence, Format, Holds};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Headline, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack, StackKind};

/// The format.
pub struct GoTrace;

/// How far behind the line that says what happened the dying goroutine's stack can begin, in lines: a sentry lists its stuck tasks between.
const CRASH_LINES: u32 = 1000;

/// How far above a goroutine the line stands that says what happened, in bytes.
const ABOVE_BYTES: usize = 1024;

/// Import paths of gVisor.
const GVISOR: &[&[u8]] = &[b"gvisor.dev/gvisor/pkg/", b"gvisor.googlesource.com/gvisor/pkg/"];

/// How the messages begin that only Go programs write.
const GO_ALONE: &[&[u8]] = &[b"SYZFATAL: ", b"SYZFAIL: "];

impl Format for GoTrace {
    fn id(&self) -> &'static str {
        "go-trace"
    }
    fn about(&self) -> &'static str {
        "Go programs, gVisor's sentry among them: goroutines, panics, fatal errors, data races, gVisor's log"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"goroutine ", b"WARNING: DATA RACE"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let first = super::first_line(rest);
        (first.starts_with(b"goroutine ") || first.starts_with(b"WARNING: DATA RACE")) && !read(rest).0.is_empty()
    }
    /// What the program died of stands above its first goroutine.
    fn begins_above(&self, above: &[u8], _: &[u8]) -> usize {
        let words = [&b"panic: "[..], b"fatal error: ", b"SIGSEGV: ", b"SIGBUS: ", b"SIGABRT: ", b"==="];
        let dies = |line: &Line<'_>| words.iter().any(|word| line.bytes.starts_with(word));
        let near = above.len().saturating_sub(ABOVE_BYTES);
        lex::lines(&above[near..]).filter(dies).last().map_or(above.len(), |line| near + line.start as usize)
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let goroutine = [&b"goroutine "[..], b"Goroutine "].iter().any(|word| memmem::find(head, word).is_some());
        let stacks = if goroutine { read(head).0 } else { Vec::new() };
        let said = lex::lines(head).any(|line| says(line.bytes));
        let gvisor = || GVISOR.iter().any(|path| memmem::find(head, path).is_some());
        match !stacks.is_empty() {
            true if gvisor() => Confidence::Certain,
            true => Confidence::Likely,
            false if said || dies(head) => Confidence::Likely,
            false => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let (stacks, headlines) = read(text);
        let gvisor = GVISOR.iter().any(|path| memmem::find(text, path).is_some());
        let gvisor = gvisor || lex::lines(text).any(|line| go_lines::glog(line.bytes).is_some());
        Capture {
            format: self.id(),
            os: gvisor.then_some(Os::Gvisor),
            basis: Some(Basis::Runtime),
            stacks,
            headlines,
            ..Capture::default()
        }
    }
}

/// Whether a line says what only gVisor's log or a fuzzer's does.
fn says(line: &[u8]) -> bool {
    let glog = go_lines::glog(line).map(|at| &line[at..]);
    go_lines::is_plain_headline(line, GO_ALONE)
        || glog.is_some_and(|message| go_lines::is_plain_headline(message, &[b"FATAL ERROR: ", b"Invalid request partialResult "]))
}

/// Whether the Go runtime gave up before it could print a stack: `runtime: …` directly above `fatal error: …`.
fn dies(head: &[u8]) -> bool {
    let mut above = false;
    lex::lines(head).any(|line| {
        let dies = above && line.bytes.starts_with(b"fatal error: ");
        above = line.bytes.starts_with(b"runtime: ");
        dies
    })
}

fn read(text: &[u8]) -> (Vec<Stack>, Vec<Headline>) {
    let mut reader =
        Reader { text, stacks: Collector::default(), headlines: Vec::new(), dies: None, trap: None, open: false, pending: None };
    lex::lines(text).for_each(|line| reader.line(&line));
    reader.push();
    (reader.stacks.finish(), reader.headlines)
}

struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    headlines: Vec<Headline>,
    /// The line that said that the program dies, until a stack follows.
    dies: Option<u32>,
    /// Where a signal stopped the program: `PC=0x663500 m=79 sigcode=128`. The innermost frame can be what called it.
    trap: Option<Avma>,
    /// Whether a heading came, and no line since then that belongs to no stack.
    open: bool,
    /// A call whose place may follow.
    pending: Option<RawFrame>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(stack) = self.heading(line) {
            self.push();
            self.stacks.open(stack);
            self.open = true;
        } else if !self.open || !self.frame(line) {
            self.close();
            self.headline(line);
            let stopped = lex::words(line.bytes).next().and_then(|word| word.strip_prefix(b"PC="));
            self.trap = stopped.and_then(lex::hex).map(Avma).or(self.trap);
        }
    }

    fn close(&mut self) {
        self.push();
        self.stacks.close();
        self.open = false;
    }

    /// Adds the frame whose lines were read.
    fn push(&mut self) {
        if let Some(frame) = self.pending.take() {
            self.stacks.push(frame);
        }
    }

    /// Whether the line is of a frame, or can stand between two.
    fn frame(&mut self, line: &Line<'_>) -> bool {
        if let Some(found) = self.pending.as_mut().and_then(|_| go_lines::place(line.bytes)) {
            self.place(line, &found);
            self.push();
        } else if let Some(frame) = go_lines::call(line) {
            self.push();
            self.pending = Some(frame);
        } else {
            return line.bytes.starts_with(b"...") && line.bytes.ends_with(b"elided...");
        }
        true
    }

    fn place(&mut self, line: &Line<'_>, found: &go_lines::Place) {
        let exact = self.is_exact(found.pc);
        let Some(frame) = &mut self.pending else { return };
        let Ok(below) = u32::try_from(line.start.saturating_sub(frame.line_start)) else { return };
        let (Some(start), Some(end)) = (below.checked_add(found.location.start), below.checked_add(found.location.end)) else { return };
        frame.location = Span { start, end };
        (frame.offset, frame.address) = (found.offset, found.pc);
        frame.lookup = if exact { Lookup::Exact } else { Lookup::Return };
    }

    /// Whether the pc of the frame being read is where execution was: below the runtime's signal handler, and where a signal came.
    fn is_exact(&mut self, pc: Option<Avma>) -> bool {
        let text = self.text;
        let trapped = pc.is_some() && pc == self.trap;
        match self.stacks.frames().iter().rev().find(|frame| frame.role != Role::Inline) {
            Some(above) => above.symbol.of(text, above.line_start) == b"runtime.sigpanic",
            None => trapped,
        }
    }

    fn heading(&mut self, line: &Line<'_>) -> Option<Stack> {
        let text = line.bytes.trim_ascii();
        let title = Some(lex::text(text.strip_suffix(b":")?));
        let stack = Stack { title, line: line.number, count: 1, ..Stack::default() };
        if let Some((race, id)) = go_lines::race(text) {
            let kind = if race == Race::Access { StackKind::Crash } else { StackKind::Alloc };
            return Some(Stack { kind, tid: id.map(lex::text), ..stack });
        }
        let goroutine = go_lines::goroutine(text)?;
        let mut words = goroutine.state.split(|b| *b == b',').map(|word| lex::text(word.trim_ascii()).replace(' ', "-"));
        let state = words.next().filter(|state| !state.is_empty());
        let locked = words.any(|word| word == "locked-to-thread");
        let state = state.map(|state| if locked { format!("{state}|locked-to-thread") } else { state });
        let near = |at: &u32| line.number.saturating_sub(*at) < CRASH_LINES;
        let kind = if self.dies.take().filter(near).is_some() { StackKind::Crash } else { StackKind::Thread };
        Some(Stack { kind, tid: Some(lex::text(goroutine.id)), state, ..stack })
    }

    fn headline(&mut self, line: &Line<'_>) {
        let Some(at) = go_lines::headline(line.bytes) else { return };
        let text = Span { start: at as u32, end: line.bytes.trim_ascii_end().len() as u32 };
        self.headlines.push(Headline { line: line.number, line_start: line.start, text });
        let message = &line.bytes[at..];
        let without_stack = [&b"FATAL ERROR: "[..], b"WARNING: ", b"SYZ"].iter().any(|words| message.starts_with(words));
        // A panic while another is told of belongs to the same stack.
        if !without_stack && self.dies.is_none() {
            self.dies = Some(line.number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_logs_are_not_claimed() {
        for text in [
            "[    1.234567] Kernel panic - not syncing: x\n",
            "panic: mtx_lock() of destroyed mutex\ncpuid = 0\nKDB: stack backtrace:\n",
            "goroutine 1 [running]:\n",
            "main.c:1: fatal error: x.h: No such file\n",
            "W0622 12:13:40.568842    9726 main.go:1] Failure\n",
            "",
        ] {
            assert_eq!(GoTrace.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
        assert_eq!(GoTrace.sniff(b"runtime: no memory\nfatal error: out of memory\n"), Confidence::Likely);
        assert_eq!(GoTrace.sniff(b"W0622 12:13:40.568842    9726 x:0] FATAL ERROR: EOF\n"), Confidence::Likely);
    }

    #[test]
    fn a_pc_is_exact_where_a_signal_came() {
        let text = "SIGSEGV: segmentation violation\nPC=0x99 m=7 sigcode=1\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\tf.go:1 +0x1 fp=0x1 sp=0x2 pc=0x99\n\
            main.g()\n\tg.go:1 +0x1 fp=0x1 sp=0x2 pc=0x88\nruntime.sigpanic()\n\ts.go:1 +0x1 fp=0x1 sp=0x2 pc=0x77\nmain.h()\n\th.go:1 +0x1 fp=0x1 sp=0x2 pc=0x66\n\
            main.cut()\n";
        let capture = GoTrace.parse(text.as_bytes());
        let exact: Vec<bool> = capture.stacks[0].frames.iter().map(|frame| frame.lookup == Lookup::Exact).collect();
        assert_eq!(exact, [true, false, false, true, false]);
        assert_eq!((capture.stacks[0].kind, capture.headlines.len()), (StackKind::Crash, 1));
        assert_eq!(GoTrace.parse(text.replace("PC=0x99", "PC=0x11").as_bytes()).stacks[0].frames[0].lookup, Lookup::Return);
    }
}

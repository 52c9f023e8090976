//! Stack traces in ftrace's `trace` and `trace_pipe`, and in trace-cmd's reports.
//!
//! ```text
//!           <idle>-0       [001] d.h1.  1234.567890: <stack trace>
//!  => native_safe_halt+0xb/0x10 <ffffffff8103ce3b>
//!  => default_idle
//! ```
//! and the deepest stack that the stack tracer saw, `stack_trace`:
//!
//! ```text
//!         Depth    Size   Location    (18 entries)
//!         -----    ----   --------
//!   0)     2928     224   update_sd_lb_stats+0xbc/0x4ac
//!  17)      160     160   kthread+0x1a0/0x1e0 [zfs]
//! ```
//! Symbols have offsets with the option `sym-offset`, addresses with `sym-addr`; `<user stack trace>` heads the frames of a program.
//! Source: Linux 6.12, `kernel/trace/trace_output.c`, `kernel/trace/trace_stack.c`; sample in `Documentation/trace/ftrace.rst`. All frames are return addresses but
//! the first, which is the caller of the tracer.

use super::lex::{self, Line};
use super::samples::{self, Offset};
use super::{Confidence, Format, Holds, atos, linux_frame};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Span, Stack, StackKind};

/// The format.
pub struct FtraceStack;

/// What heads the kernel's frames.
const KERNEL: &[u8] = b"<stack trace>";
/// What heads a program's.
const USER: &[u8] = b"<user stack trace>";

impl Format for FtraceStack {
    fn id(&self) -> &'static str {
        "ftrace-stack"
    }
    fn about(&self) -> &'static str {
        "stack traces of ftrace: `<stack trace>` and ` => function` lines of trace, trace_pipe, trace-cmd; stack_trace of the stack tracer"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"stack trace>", b"# tracer: ", b"Depth    Size   Location"]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let mut headed = false;
        for line in lex::lines(head) {
            if headed && (frame(line.bytes).is_some() || is_rule(line.bytes)) {
                return Confidence::Certain;
            }
            headed = is_heading(line.bytes) || is_deepest(line.bytes);
        }
        Confidence::No
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        for line in lex::lines(text) {
            reader.line(&line);
        }
        Capture {
            format: self.id(),
            os: Some(Os::Linux),
            arch: None,
            basis: Some(Basis::Runtime),
            stacks: reader.stacks,
            ..Capture::default()
        }
    }
}

/// `        Depth    Size   Location    (18 entries)`.
fn is_deepest(line: &[u8]) -> bool {
    let mut words = lex::words(line);
    let columns: [&[u8]; 3] = [b"Depth", b"Size", b"Location"];
    columns.iter().all(|column| words.next() == Some(*column)) && words.next().is_some_and(|word| word.starts_with(b"("))
}

/// The line of dashes below it.
fn is_rule(line: &[u8]) -> bool {
    lex::words(line).take(4).map(|word| word.iter().all(|b| *b == b'-')).eq([true; 3])
}

/// `  0)     2928     224   update_sd_lb_stats+0xbc/0x4ac [m]`: the number, how much of the stack is in use, and how much of that is the
/// function's own.
fn row(line: &Line<'_>) -> Option<RawFrame> {
    let rest = line.bytes.trim_ascii_start();
    let column =
        |rest: &[u8]| Some(lex::indent(rest) + rest.trim_ascii_start().iter().position(|b| !b.is_ascii_digit()).filter(|n| *n > 0)?);
    let number = column(rest).filter(|end| rest[*end] == b')')? + 1;
    let depth = number + column(&rest[number..])?;
    let size = depth + column(&rest[depth..])?;
    let from = line.bytes.len() - rest.len() + size;
    linux_frame::alone(line, from, line.bytes.len()).filter(|_| rest[size..].starts_with(b" "))
}

fn is_heading(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.ends_with(KERNEL) || line.ends_with(USER)
}

/// Reads ` => NAME`, ` => NAME+0xOFF/0xSIZE [MODULE] <ADDR>`.
fn frame(line: &[u8]) -> Option<RawFrame> {
    let rest = line.trim_ascii().strip_prefix(b"=>")?;
    let (body, place) = samples::location(rest.trim_ascii());
    let address = body.strip_suffix(b">").and_then(|rest| {
        let open = memchr::memrchr(b'<', rest)?;
        Some((rest[..open].trim_ascii_end(), lex::bare_hex(&rest[open + 1..])?))
    });
    let (name, address) = address.map_or((body, None), |(name, address)| (name, Some(address)));
    let module = name.strip_suffix(b"]").and_then(|rest| memchr::memmem::rfind(rest, b" [").map(|at| (&rest[..at], &rest[at + 2..])));
    let (word, module) = module.map_or((name, None), |(word, module)| (word, Some(module)));
    let mut frame = match (address, word) {
        (Some(address), b"") => samples::address(line, body, address),
        (address, word) => RawFrame { address: address.map(Avma), ..samples::symbol(line, word, Offset::Hex)? },
    };
    frame.text = atos::span(line, body);
    frame.module = module.map(|module| atos::span(line, module)).unwrap_or_default();
    frame.location = place.map(|place| atos::span(line, place)).unwrap_or_default();
    // The kernel's own code of that name is made while it runs.
    if word == b"[FTRACE TRAMPOLINE]" {
        frame.symbol = Span::default();
    }
    Some(frame)
}

#[derive(Default)]
struct Reader {
    stacks: Vec<Stack>,
    /// Whose frames the lines below are; `None` outside a trace.
    kernel: Option<bool>,
    latest: u32,
    /// In the list of the deepest stack.
    deepest: bool,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        if is_heading(line.bytes) {
            self.deepest = false;
            return self.head(line);
        }
        if is_deepest(line.bytes) {
            (self.deepest, self.kernel) = (true, None);
            self.stacks.push(Stack { kind: StackKind::Sample, line: line.number, count: 1, ..Stack::default() });
        } else if self.inlined(line) {
            self.latest = line.number;
        } else if self.deepest {
            let (Some(stack), Some(frame)) = (self.stacks.last_mut(), row(line)) else { return };
            self.latest = line.number;
            stack.frames.push(frame);
        } else if let Some(kernel) = self.kernel {
            self.traced(line, kernel);
        }
    }

    /// Counts a line about an inlined function, which an earlier run put below a frame.
    fn inlined(&mut self, line: &Line<'_>) -> bool {
        let note = self.latest != 0 && line.number == self.latest + 1 && line.bytes.trim_ascii_end().ends_with(b" [inline]");
        let frame = self.stacks.last_mut().and_then(|stack| stack.frames.last_mut()).filter(|_| note);
        frame.into_iter().for_each(|frame| frame.notes += 1);
        note
    }

    fn traced(&mut self, line: &Line<'_>, kernel: bool) {
        let (Some(frame), Some(stack)) = (frame(line.bytes), self.stacks.last_mut()) else {
            self.kernel = None;
            return;
        };
        let list = if kernel { &mut stack.frames } else { &mut stack.user_frames };
        list.push(RawFrame { line: line.number, line_start: line.start, lookup: Lookup::Return, ..frame });
        self.latest = line.number;
    }

    /// `COMM-PID [CPU] FLAGS TIME: <stack trace>`; a user stack right below a kernel one of the same task belongs to it.
    fn head(&mut self, line: &Line<'_>) {
        let text = line.bytes.trim_ascii();
        let kernel = text.ends_with(KERNEL);
        let (process, pid, cpu) = task(text);
        let same =
            self.stacks.last().is_some_and(|stack| stack.pid == pid && stack.user_frames.is_empty() && self.latest + 1 == line.number);
        self.kernel = Some(kernel);
        if !kernel && same {
            return;
        }
        let stack = Stack { kind: StackKind::Sample, process, pid, cpu, line: line.number, count: 1, ..Stack::default() };
        self.stacks.push(Stack { tid: pid.map(|pid| pid.to_string()), ..stack });
    }
}

/// Name, id and CPU of what stands in front of a trace.
fn task(text: &[u8]) -> (Option<String>, Option<i64>, Option<u32>) {
    let cpu = memchr::memchr_iter(b'[', text).find_map(|open| {
        let close = open + memchr::memchr(b']', &text[open..])?;
        Some((open, lex::decimal(&text[open + 1..close])?))
    });
    let owner = match cpu {
        Some((at, _)) => text[..at].trim_ascii(),
        None => lex::words(text).next().unwrap_or_default(),
    };
    // `(TGID)` follows with the option `record-tgid`.
    let owner = owner.strip_suffix(b")").and_then(|rest| Some(rest[..memchr::memrchr(b'(', rest)?].trim_ascii())).unwrap_or(owner);
    let dash = memchr::memrchr(b'-', owner);
    let pid = dash.and_then(|at| lex::decimal(&owner[at + 1..])).and_then(|pid| i64::try_from(pid).ok());
    let process = dash.filter(|_| pid.is_some()).map(|at| lex::text(&owner[..at]));
    (process, pid, cpu.and_then(|(_, cpu)| u32::try_from(cpu).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_stack_is_one() {
        let text = b"        Depth    Size   Location    (3 entries)\n        -----    ----   --------\n  0)     2928     224   update_sd_lb_stats+0xbc/0x4ac\n \
            10)     2704     160   zio_done+0x19/0x38 [zfs]\nno row+0x1/0x2\n 11)     2704     160   kthread+0x1/0x2\n";
        assert_eq!(FtraceStack.sniff(text), Confidence::Certain);
        let capture = FtraceStack.parse(text);
        let [stack] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        let seen: Vec<_> =
            stack.frames.iter().map(|f| (f.symbol.of(text, f.line_start), f.module.of(text, f.line_start), f.offset)).collect();
        let want: [(&[u8], &[u8], _); 3] =
            [(b"update_sd_lb_stats", b"", Some(0xbc)), (b"zio_done", b"zfs", Some(0x19)), (b"kthread", b"", Some(1))];
        assert_eq!(seen, want);
        assert_eq!(FtraceStack.sniff(b"Depth Size Location (\nf+0x1/0x2\n"), Confidence::No);
    }

    #[test]
    fn traces_have_their_tasks_and_both_stacks() {
        let text = b"# tracer: nop\n          <idle>-0       [001] d.h1.  1234.567890: <stack trace>\n => native_safe_halt+0xb/0x10 <ffffffff8103ce3b>\n \
            => [FTRACE TRAMPOLINE]\n => zio_wait+0x63/0x300 [zfs]\n txg-sync-257     (  257) [003] .....  1.5: <stack trace>\n => schedule\n \
            txg-sync-257     (  257) [003] .....  1.5: <user stack trace>\n =>  <00007f533952bc77>\n\n => no frame\n";
        assert_eq!(FtraceStack.sniff(text), Confidence::Certain);
        let capture = FtraceStack.parse(text);
        let seen: Vec<_> = capture
            .stacks
            .iter()
            .map(|stack| (stack.process.as_deref(), stack.pid, stack.cpu, stack.frames.len(), stack.user_frames.len()))
            .collect();
        assert_eq!(seen, [(Some("<idle>"), Some(0), Some(1), 3, 0), (Some("txg-sync"), Some(257), Some(3), 1, 1)]);
        assert_eq!(capture.stacks[0].frames[0].address, Some(Avma(0xffff_ffff_8103_ce3b)));
    }
}

//! Stacks of a kernel as lldb prints them (`bt`, `bt all`), and the rows that Apple's reports have for frames with names.
//!
//! ```text
//! * thread #1, name = '(pid 5243) sysctl (crashed)', stop reason = kernel panic
//!   * frame #0: 0xffffff80002e9a5b kernel.development`panic(str=<unavailable>) at debug.c:1089:3 [opt]
//!     frame #1: 0xffffff7f86b1e1a3 IOHIDFamily`IOHIDDevice::start(IOService*) + 1123
//!     frame #2: 0xffffff80002e0000
//!   1 mach_kernel   0xffffff800350475c panic + 0xec        rows, read by `atos::row`
//! ```
//!
//! The reason for which a thread stopped is the title of a crash, unless it says no more than that somebody wanted to look.
//!
//! Source: `frame-format` and `thread-stop-format` in lldb/source/Core/CoreProperties.td (LLVM 17); names of FreeBSD's threads are put
//! together in lldb/source/Plugins/Process/FreeBSDKernel/ProcessFreeBSDKernel.cpp. Without debug info an offset in decimal follows the
//! name. The frames of inlined calls have the address of the function that they are in.

use memchr::memmem;

use super::debugger_parts::{self, Collector};
use super::lex::{self, Line};
use super::linux_symbol::place_len;
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Headline, Os};
use crate::model::stack::{Lookup, RawFrame, Role, Stack, StackKind};

/// The format.
pub struct LldbBt;

/// Below this lies user space on every 64-bit architecture.
const LOWEST: u64 = 0xffff_0000_0000_0000;

/// What stands before the reason for which a thread stopped.
const REASON: &[u8] = b"stop reason = ";

/// What lldb calls functions for which it has no name.
const UNNAMED: &[u8] = b"___lldb_unnamed_symbol";

/// What old lldb writes between a function and the one inlined into it.
const INLINED: &[u8] = b" [inlined] ";

/// Functions behind whose frames stands what an exception interrupted: of xnu on x86_64, and of FreeBSD.
const VECTORS: &[&[u8]] = &[b"return_from_trap", b"hndl_alltraps", b"trap_from_kernel", b"hndl_allintrs", b"calltrap"];

impl Format for LldbBt {
    fn id(&self) -> &'static str {
        "lldb-bt"
    }
    fn about(&self) -> &'static str {
        "lldb's bt and bt all of a kernel; rows of Apple's symbolicated reports (IMAGE ADDRESS NAME + OFFSET)"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"frame #0: ", b" 0 mach_kernel ", b" 0 kernel "]
    }
    /// The line that names the thread.
    fn begins_above(&self, above: &[u8], _: &[u8]) -> usize {
        let start = memchr::memrchr(b'\n', &above[..above.len().saturating_sub(1)]).map_or(0, |at| at + 1);
        if memmem::find(&above[start..], b"thread #").is_some() { start } else { above.len() }
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let kernel = |frame: &RawFrame| frame.address.is_some_and(|address| address.0 >= LOWEST);
        let mut rows = 0;
        for line in lex::lines(head) {
            match atos::row(line.bytes) {
                Some((_, frame)) if kernel(&frame) => rows += 1,
                _ if rows > 0 && atos::is_location(line.bytes) => {}
                _ => rows = 0,
            }
            // One row alone may be of some table.
            if rows > 1 || frame(&line).is_some_and(|(_, frame)| kernel(&frame)) {
                return Confidence::Certain;
            }
        }
        Confidence::No
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader =
            Reader { text, stacks: Collector::default(), headlines: Vec::new(), number: 0, exact: false, latest: 0, os: None, arch: None };
        lex::lines(text).for_each(|line| reader.line(&line));
        let headlines = reader.headlines;
        Capture { headlines, ..debugger_parts::capture(self.id(), reader.os, reader.arch, reader.stacks) }
    }
}

struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// Why threads stopped that crashed.
    headlines: Vec<Headline>,
    /// Of the latest frame.
    number: u32,
    /// Whether the next frame that is not inlined stands where execution was.
    exact: bool,
    /// Line of the latest frame or of what kstack wrote below it.
    latest: u32,
    os: Option<Os>,
    arch: Option<Arch>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let found = frame(line).or_else(|| atos::row(line.bytes));
        if let Some((number, frame)) = found {
            self.frame(number, RawFrame { line: line.number, line_start: line.start, ..frame });
        } else if self.latest > 0 && self.latest + 1 == line.number && atos::is_location(line.bytes) {
            self.latest = line.number;
            self.stacks.frames().iter_mut().last().into_iter().for_each(|frame| frame.notes += 1);
        } else if let Some(stack) = thread(line) {
            let reason = stack.title.is_some().then(|| value(line.bytes, REASON, b"\n")).flatten();
            let text = reason.map(|reason| atos::span(line.bytes, reason));
            self.headlines.extend(text.map(|text| Headline { line: line.number, line_start: line.start, text }));
            self.stacks.open(stack);
        } else if line.bytes.trim_ascii().is_empty() || line.bytes.starts_with(b"(lldb)") {
            self.stacks.close();
        }
    }

    fn frame(&mut self, number: u32, mut frame: RawFrame) {
        let first = self.stacks.frames().is_empty();
        if !first && number <= self.number {
            self.stacks.close();
        }
        (self.number, self.latest) = (number, frame.line);
        self.exact |= number == 0;
        if frame.role != Role::Inline {
            frame.lookup = if self.exact { Lookup::Exact } else { Lookup::Return };
            let symbol = frame.symbol.of(self.text, frame.line_start);
            self.exact = VECTORS.contains(&symbol) || debugger_parts::interrupts(symbol);
        }
        self.system(&frame);
        self.stacks.push(frame);
    }

    /// What the frame tells of the system: where its kernel lies, or what the image is called.
    fn system(&mut self, frame: &RawFrame) {
        let module = frame.module.of(self.text, frame.line_start);
        let Some(address) = frame.address.filter(|_| self.os.is_none()) else { return };
        let darwin = Arch::of_darwin_address(address);
        let named = match module {
            b"kernel" | b"kernel.debug" | b"kernel.full" if darwin.is_none() => Some(Os::FreeBsd),
            _ if module.starts_with(b"vmlinux") => Some(Os::Linux),
            _ if module == b"mach_kernel" || module == b"kernel" || module.starts_with(b"kernel.") => Some(Os::Darwin),
            _ => None,
        };
        let high = (address.0 >> 31 == 0x1_ffff_ffff).then_some(Arch::X86_64);
        (self.os, self.arch) = (named, named.and(darwin.or(high)).or(self.arch));
    }
}

/// `* thread #1, name = 'NAME', queue = 'NAME', stop reason = WORDS`, of old lldb `thread #1: tid = 0x2e03, …`.
fn thread(line: &Line<'_>) -> Option<Stack> {
    let body = line.bytes.trim_ascii();
    let rest = body.strip_prefix(b"* ").unwrap_or(body).strip_prefix(b"thread #")?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    lex::decimal(&rest[..digits])?;
    let behind = &rest[digits..];
    if !behind.is_empty() && !matches!(behind[0], b',' | b':') {
        return None;
    }
    let tid = value(behind, b"tid = ", b",").unwrap_or(&rest[..digits]);
    let mut stack = Stack { line: line.number, count: 1, tid: Some(lex::text(tid)), ..Stack::default() };
    let reason = value(behind, REASON, b"\n");
    stack.state = reason.map(lex::text);
    stack.title = reason.filter(|reason| is_crash(reason)).map(lex::text);
    stack.kind = if stack.title.is_some() { StackKind::Crash } else { StackKind::Thread };
    if let Some(name) = value(behind, b"name = '", b"'") {
        named(name, &mut stack);
    }
    Some(stack)
}

/// Whether that is why a thread stops that has crashed, and not one at a breakpoint or one that was asked to.
fn is_crash(reason: &[u8]) -> bool {
    const SIGNALS: [&[u8]; 6] = [b"SIGSEGV", b"SIGBUS", b"SIGABRT", b"SIGILL", b"SIGFPE", b"SIGSYS"];
    let signal = reason.strip_prefix(b"signal ").is_some_and(|name| SIGNALS.iter().any(|known| name.starts_with(known)));
    signal || reason == b"kernel panic" || reason.starts_with(b"EXC_") || reason.starts_with(b"ESR_EC_")
}

/// What stands between `key` and `end`, or the end of the line.
fn value<'t>(text: &'t [u8], key: &[u8], end: &[u8]) -> Option<&'t [u8]> {
    let rest = &text[memmem::find(text, key)? + key.len()..];
    Some(rest[..memmem::find(rest, end).unwrap_or(rest.len())].trim_ascii()).filter(|value| !value.is_empty())
}

/// A thread's name; FreeBSD's are `(pid 5243) sysctl/worker (crashed)` or `… (on CPU 3)`.
fn named(name: &[u8], stack: &mut Stack) {
    let parts = name.strip_prefix(b"(pid ").and_then(|rest| {
        let close = memmem::find(rest, b") ")?;
        Some((lex::decimal(&rest[..close])?, &rest[close + 2..]))
    });
    let Some((pid, rest)) = parts else {
        stack.thread = Some(lex::text(name));
        return;
    };
    stack.pid = i64::try_from(pid).ok();
    let cpu = rest.strip_suffix(b")").and_then(|rest| {
        let at = memmem::rfind(rest, b" (on CPU ")?;
        Some((&rest[..at], u32::try_from(lex::decimal(&rest[at + 9..])?).ok()?))
    });
    stack.cpu = cpu.map(|(_, cpu)| cpu);
    let rest = cpu.map_or(rest, |(rest, _)| rest);
    let rest = rest.strip_suffix(b" (crashed)").unwrap_or(rest);
    // Commands have slashes, too; a thread's name follows the first of them in what lldb writes.
    let slash = memchr::memchr(b'/', rest);
    stack.process = Some(lex::text(slash.map_or(rest, |at| &rest[..at])));
    stack.thread = slash.map(|at| lex::text(&rest[at + 1..]));
}

/// `frame #2: 0xADDR IMAGE`NAME + OFFSET`, or what kstack wrote instead of all behind the number.
fn frame(line: &Line<'_>) -> Option<(u32, RawFrame)> {
    let body = line.bytes.trim_ascii();
    let rest = body.strip_prefix(b"* ").unwrap_or(body).trim_ascii_start().strip_prefix(b"frame #")?;
    let digits = rest.iter().take(7).take_while(|b| b.is_ascii_digit()).count();
    let number = u32::try_from(lex::decimal(&rest[..digits])?).ok()?;
    let rest = rest[digits..].strip_prefix(b":")?.trim_ascii_start();
    let word = rest.iter().position(|b| *b == b' ').unwrap_or(rest.len());
    let Some(address) = lex::hex(&rest[..word]) else { return own(line.bytes, rest).map(|frame| (number, frame)) };
    let mut frame =
        RawFrame { address: Some(Avma(address)), text: atos::span(line.bytes, rest), reliable: address != 0, ..RawFrame::default() };
    if memmem::find(rest, b" (in ").is_some()
        && let Some(own) = own(line.bytes, rest)
    {
        return Some((number, own));
    }
    called(line.bytes, rest[word..].trim_ascii(), &mut frame);
    Some((number, frame))
}

/// A frame as kstack writes it.
fn own(line: &[u8], rest: &[u8]) -> Option<RawFrame> {
    atos::rewritten(line, rest).filter(|frame| frame.address.is_some())
}

/// `` IMAGE`NAME(ARGUMENTS) at FILE:LINE:COLUMN [opt] [inlined] ``.
fn called(line: &[u8], rest: &[u8], frame: &mut RawFrame) {
    let (rest, inlined) = without_marks(rest, frame);
    let (rest, place) = located(rest);
    frame.location = place.map(|place| atos::span(line, place)).unwrap_or_default();
    // Old lldb names the function around the inlined one first.
    let inner = memmem::rfind(rest, INLINED).map(|at| &rest[at + INLINED.len()..]);
    if inlined || inner.is_some() {
        (frame.role, frame.address) = (Role::Inline, None);
    }
    let Some(tick) = memchr::memchr(b'`', rest) else { return };
    frame.module = if tick == 0 { frame.module } else { atos::span(line, &rest[..tick]) };
    let (name, offset) = with_offset(inner.unwrap_or(&rest[tick + 1..]));
    let offset = offset.filter(|_| frame.role != Role::Inline);
    let name = if place.is_some() || memchr::memchr(b'=', name).is_some() || memmem::find(name, b"::").is_none() && offset.is_none() {
        without_arguments(name)
    } else {
        name
    };
    if name.is_empty() || name.starts_with(UNNAMED) {
        return;
    }
    (frame.symbol, frame.offset) = (atos::span(line, name), offset);
}

/// Takes ` [opt]`, ` [inlined]` and ` [artificial]` off the end; whether it is inlined. A tail call that lldb made up is not certain.
fn without_marks<'t>(mut rest: &'t [u8], frame: &mut RawFrame) -> (&'t [u8], bool) {
    let mut inlined = false;
    for mark in [&b"[artificial]"[..], b"[inlined]", b"[opt]"] {
        let Some(before) = rest.strip_suffix(mark) else { continue };
        rest = before.trim_ascii_end();
        inlined |= mark == b"[inlined]";
        frame.reliable &= mark != b"[artificial]";
    }
    (rest, inlined)
}

/// Takes ` at FILE:LINE:COLUMN`, or the ` FILE:LINE` that kstack appends, off the end.
fn located(rest: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(at) = memchr::memrchr(b' ', rest).filter(|at| place_len(&rest[at + 1..]) == Some(rest.len() - at - 1)) else {
        return (rest, None);
    };
    let before = rest[..at].trim_ascii_end();
    (before.strip_suffix(b" at").unwrap_or(before), Some(&rest[at + 1..]))
}

/// Splits `NAME + 1123`.
fn with_offset(name: &[u8]) -> (&[u8], Option<u64>) {
    let split = memmem::rfind(name, b" + ").and_then(|at| Some((&name[..at], lex::decimal(&name[at + 3..])?)));
    split.map_or((name, None), |(name, offset)| (name, Some(offset)))
}

/// A name without what stands in parentheses at its end; `operator()` keeps its own.
fn without_arguments(name: &[u8]) -> &[u8] {
    let from = memmem::find(name, b"operator()").map_or(0, |at| at + 10);
    memchr::memchr(b'(', &name[from..]).map_or(name, |at| &name[..from + at])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::Span;

    const TEXT: &str = "\
(lldb) bt all
* thread #1, name = '(pid 77) zfs/txg (crashed)', stop reason = kernel panic
  * frame #0: 0xffffff80002e9a00 kernel.development`panic(str=0x1) [inlined] flush at a.h:57:2 [opt]
    frame #1: 0xffffff80002e9a00 kernel.development`panic(str=<unavailable>, at=\" at x\") at debug.c:1089:3 [opt]
    frame #2: 0xffffff7f86b1e1a3 IOHIDFamily`IOHIDDevice::start(IOService*) + 1123
    frame #3: 0xffffff80002e0000 kernel.development`trap_from_kernel + 38
    frame #4: 0xffffff80002e0010 kernel.development`___lldb_unnamed_symbol12 + 4
    frame #5: 0xffffff80002e0020

  thread #2
    frame #0: 0xffffff80002e9a00 kernel.development`swtch at pcb.c:3
";

    fn part(span: Span, frame: &RawFrame, text: &str) -> String {
        lex::text(span.of(text.as_bytes(), frame.line_start))
    }

    #[test]
    fn frames_keep_names_images_offsets_and_places() {
        assert_eq!(LldbBt.sniff(TEXT.as_bytes()), Confidence::Certain);
        let capture = LldbBt.parse(TEXT.as_bytes());
        assert_eq!((capture.os, capture.arch), (Some(Os::Darwin), Some(Arch::X86_64)));
        let [first, second] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((first.pid, first.process.as_deref(), first.thread.as_deref()), (Some(77), Some("zfs"), Some("txg")));
        assert_eq!((first.state.as_deref(), second.tid.as_deref()), (Some("kernel panic"), Some("2")));
        let row = |f: &RawFrame| (part(f.symbol, f, TEXT), part(f.module, f, TEXT), f.offset, part(f.location, f, TEXT), f.lookup);
        let frames: Vec<_> = first.frames.iter().map(row).collect();
        let kernel = || "kernel.development".to_string();
        assert_eq!((first.frames[0].role, first.frames[0].address, frames[0].0.as_str()), (Role::Inline, None, "flush"));
        assert_eq!(frames[1], ("panic".into(), kernel(), None, "debug.c:1089:3".into(), Lookup::Exact));
        let method = "IOHIDDevice::start(IOService*)".to_string();
        assert_eq!(frames[2], (method, "IOHIDFamily".into(), Some(1123), String::new(), Lookup::Return));
        assert_eq!(frames[3].0, "trap_from_kernel");
        assert_eq!(frames[4], (String::new(), kernel(), None, String::new(), Lookup::Exact));
        assert_eq!((frames.len(), second.frames.len()), (6, 1));
    }

    #[test]
    fn freebsd_is_known_by_its_kernels_name() {
        let text =
            "* thread #9, name = '(pid 5243) sysctl (on CPU 3)'\n  * frame #0: 0xffffffff80bc6c31 kernel`sched_switch(td=0x0) at a.c:1:2\n";
        let capture = LldbBt.parse(text.as_bytes());
        let stack = &capture.stacks[0];
        assert_eq!((capture.os, stack.pid, stack.cpu, stack.process.as_deref()), (Some(Os::FreeBsd), Some(5243), Some(3), Some("sysctl")));
        assert_eq!(part(stack.frames[0].symbol, &stack.frames[0], text), "sched_switch");
    }

    #[test]
    fn rows_of_reports_are_read() {
        let text = "   1 mach_kernel     0xffffff800350475c panic + 0xec \n   2 as.acme.Kext    0xffffff7f85065049\n\
            \x20  3 mach_kernel     Kext::go(int) (in kernel) + 4 (0xffffff80034b55a3)\n";
        assert_eq!(LldbBt.sniff(text.as_bytes()), Confidence::Certain);
        let capture = LldbBt.parse(text.as_bytes());
        let frames = &capture.stacks[0].frames;
        let row = |f: &RawFrame| (part(f.symbol, f, text), part(f.module, f, text), f.offset, f.address.map(|a| a.0));
        assert_eq!(row(&frames[0]), ("panic".into(), "mach_kernel".into(), Some(0xec), Some(0xffff_ff80_0350_475c)));
        assert_eq!(row(&frames[1]), (String::new(), "as.acme.Kext".into(), None, Some(0xffff_ff7f_8506_5049)));
        assert_eq!(row(&frames[2]), ("Kext::go(int)".into(), "kernel".into(), Some(4), Some(0xffff_ff80_034b_55a3)));
        assert_eq!(capture.os, Some(Os::Darwin));
    }

    #[test]
    fn programs_are_not_claimed() {
        for text in [
            "* thread #1, stop reason = breakpoint 1.1\n  * frame #0: 0x0000000100000e85 a.out`main + 4 at test.c:19\n",
            "0   libsystem_kernel.dylib 0x00007fff203f091e __pthread_kill + 10\n1   a.out 0x00007fff203f091e main + 10\n",
            "frame #0: nothing\n",
        ] {
            assert_eq!(LldbBt.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }
}

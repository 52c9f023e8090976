//! Logs of Fuchsia: panics of Zircon, of Starnix (which runs Linux programs on it), and of programs.
//!
//! ```text
//! ZIRCON KERNEL PANIC
//! dso: id=7247958b8a5d8707197d317407c960c42be5b1b2 base=0xffffffff00100000 name=zircon.elf
//! panic (caller 0xffffffff003c2071 frame 0xffffff48fa21eb80): DEBUG ASSERT FAILED at (a/b.h:652): IsValid(parent)
//! bt#00: 0xffffffff00105e46                          {{{bt:0:0xffffffff00105e46:pc}}} since 2019
//! bt#01: end
//! STARNIX KERNEL PANIC
//!  info=panicked at ../../src/starnix/kernel/vfs/symlink_node.rs:28:5:
//! ```
//! Frames are read by `fuchsia_frame.rs`, modules by `fuchsia_maps.rs`, stamps peeled by `fuchsia_lines.rs`.

use memchr::memmem;

use super::debugger_parts::Collector;
use super::fuchsia_frame::{self, Fault};
use super::fuchsia_lines;
use super::fuchsia_maps::Maps;
use super::lex::{self, Line};
use super::{Confidence, Format, Holds, go_lines};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Headline, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Role, Span, Stack, StackKind};

/// The format.
pub struct Fuchsia;

/// What no other system prints.
const MARKERS: &[&[u8]] = &[
    b"ZIRCON KERNEL PANIC",
    b"STARNIX KERNEL PANIC",
    b"welcome to Zircon",
    b"{{{bt:",
    b"{{{module:",
    b"<== fatal exception: process ",
    b"<== CRASH: process ",
    b"[[[ELF module #0x",
    b"gfxconsole: rows ",
    b"name=zircon.elf",
];

/// Lines that say what happened, wherever in a line.
const HEADLINES: &[&[u8]] = &[
    b"ZIRCON KERNEL PANIC",
    b"STARNIX KERNEL PANIC",
    b"recursion in interrupt handler",
    b"welcome to Zircon",
    b"KVM internal error",
    b"<== fatal exception: process ",
];

impl Format for Fuchsia {
    fn id(&self) -> &'static str {
        "fuchsia"
    }
    fn about(&self) -> &'static str {
        "Fuchsia: Zircon and Starnix panics, symbolizer markup ({{{bt:...}}}) and symbolized stacks, exceptions of programs"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        MARKERS
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let marked = MARKERS.iter().any(|marker| memmem::find(head, marker).is_some());
        let stamped = || lex::lines(head).filter(|line| fuchsia_lines::stamp(line.bytes).is_some()).take(2).count() == 2;
        let framed = || {
            let frames = lex::lines(head).filter(|line| line.bytes.starts_with(b"bt#") && fuchsia_frame::frame(line, 0).is_some());
            frames.take(2).count() == 2
        };
        if marked || stamped() || framed() { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        lex::lines(text).for_each(|line| reader.line(&line));
        reader.alone();
        let slide = reader.maps.slide;
        Capture {
            format: self.id(),
            os: Some(Os::Fuchsia),
            arch: reader.arch,
            basis: Some(Basis::Runtime),
            slide,
            headlines: reader.headlines,
            stacks: reader.stacks.finish().into_iter().map(apart).collect(),
            images: reader.maps.finish(),
            ..Capture::default()
        }
    }
}

/// Frames of programs are told by what they print, and kept apart.
fn apart(mut stack: Stack) -> Stack {
    if stack.frames.iter().any(|frame| !frame.label.is_empty() && frame.role == Role::Call) {
        stack.user_frames = std::mem::take(&mut stack.frames).iter().map(|frame| RawFrame { label: Span::default(), ..*frame }).collect();
    }
    stack
}

#[derive(Default)]
struct Reader {
    stacks: Collector,
    headlines: Vec<Headline>,
    maps: Maps,
    arch: Option<Arch>,
    /// Of the latest frame.
    number: Option<u32>,
    /// What the lines above said about the stack that follows.
    next: Stack,
    /// Whether the kernel or a program told of its end.
    ended: bool,
    /// Where the kernel was, until its stack follows.
    fault: Option<RawFrame>,
}

impl Reader {
    fn line(&mut self, line: &Line<'_>) {
        let at = fuchsia_lines::stamp(line.bytes).unwrap_or(0);
        let message = &line.bytes[at..];
        if let Some(found) = fuchsia_frame::frame(line, at) {
            self.frame(line, found);
        } else if fuchsia_frame::is_end(message) {
            self.close();
        } else if let Some(fault) = fuchsia_frame::fault(line, at) {
            // Other processors have no register of that name.
            self.arch = self.arch.or(Some(Arch::X86_64));
            self.fault(fault);
        } else if !self.maps.message(line, message) {
            self.headline(line, at);
            self.facts(message);
        }
    }

    fn close(&mut self) {
        self.stacks.close();
        self.number = None;
    }

    fn frame(&mut self, line: &Line<'_>, found: fuchsia_frame::Found) {
        let (number, mut frame) = (found.number, found.frame);
        let again = self.number == Some(number);
        // Inlined functions stand above the one that they are in, with its number.
        let above = self.stacks.frames().last().is_some_and(|last| last.role == Role::Inline) || frame.role == Role::Inline;
        if self.number.is_some_and(|last| number < last) || again && !above {
            self.close();
        }
        if self.number.is_none() {
            self.open(frame.line);
        }
        self.number = Some(number);
        if let Some(by) = found.moved {
            self.maps.moved(frame.module.of(line.bytes, 0), by);
        }
        if found.user {
            frame.label = frame.text;
        }
        self.stacks.push(frame);
    }

    /// Begins a stack at that line, or at the line above that says where the kernel was.
    fn open(&mut self, line: u32) {
        let fault = self.fault.take();
        let kind = if self.ended { StackKind::Crash } else { StackKind::Thread };
        let stack = std::mem::take(&mut self.next);
        let line = fault.map_or(line, |fault| fault.line.min(line));
        self.stacks.open(Stack { kind, line, count: 1, ..stack });
        if let Some(fault) = fault {
            self.stacks.push(fault);
        }
    }

    fn fault(&mut self, fault: Fault) {
        match (fault, &mut self.fault) {
            // The same place again, with its whole address.
            (Fault::Register(frame), Some(named)) if named.address.is_none() && frame.line - named.line <= 1 => {
                named.address = frame.address;
            }
            (Fault::Register(frame) | Fault::Named(frame), _) => {
                self.alone();
                self.fault = Some(frame);
            }
        }
    }

    /// Where the kernel was is a stack of its own where none followed.
    fn alone(&mut self) {
        if let Some(fault) = self.fault {
            self.close();
            self.open(fault.line);
            self.close();
        }
    }

    fn headline(&mut self, line: &Line<'_>, at: usize) {
        let message = line.bytes[at..].trim_ascii_end();
        let own = HEADLINES.iter().find_map(|words| memmem::find(message, words));
        let Some(start) = own.or_else(|| go_lines::headline(message)).filter(|start| !is_fuzzer(&message[*start..])) else { return };
        let text = Span { start: (at + start) as u32, end: (at + message.len()) as u32 };
        self.headlines.push(Headline { line: line.number, line_start: line.start, text });
        if own.is_some() {
            self.ended = true;
        }
    }

    /// What a message says about the thread whose stack follows, and about the machine.
    fn facts(&mut self, message: &[u8]) {
        let message = message.trim_ascii();
        if let Some(arch) = message.strip_prefix(b"arch: ") {
            self.arch = self.arch.or(match arch {
                b"x86_64" | b"x86" => Some(Arch::X86_64),
                b"aarch64" | b"arm64" => Some(Arch::Arm64),
                b"riscv64" => Some(Arch::Riscv64),
                _ => None,
            });
        } else if let Some(rest) = exception(message) {
            self.exception(rest);
        } else if let Some(thread) = message.strip_prefix(b"dump_thread: t ").and_then(thread) {
            (self.next.process, self.next.thread) = thread;
        } else if message.ends_with(b"stack backtrace:") {
            self.close();
        }
    }

    /// `fshost[1127] thread root-dispatcher[1246]`.
    fn exception(&mut self, rest: &[u8]) {
        self.close();
        self.ended = true;
        let (process, thread) = match memmem::find(rest, b" thread ") {
            Some(at) => (&rest[..at], Some(&rest[at + 8..])),
            None => (rest, None),
        };
        let (name, pid) = numbered(process);
        (self.next.process, self.next.pid) = (Some(name), pid.and_then(lex::decimal).and_then(|pid| i64::try_from(pid).ok()));
        if let Some((name, tid)) = thread.map(numbered) {
            (self.next.thread, self.next.tid) = (Some(name), tid.map(lex::text));
        }
    }
}

/// Programs of a fuzzer end all the time, and nobody asks why.
fn is_fuzzer(message: &[u8]) -> bool {
    exception(message).is_some_and(|rest| memmem::find(numbered_name(rest), b"syz").is_some())
}

fn numbered_name(rest: &[u8]) -> &[u8] {
    &rest[..memchr::memchr(b'[', rest).unwrap_or(rest.len())]
}

/// What follows `<== fatal exception: process ` or what it is since 2020.
fn exception(message: &[u8]) -> Option<&[u8]> {
    [&b"<== fatal exception: process "[..], b"<== CRASH: process "].iter().find_map(|words| message.strip_prefix(*words))
}

/// `root-dispatcher[1246]`.
fn numbered(text: &[u8]) -> (String, Option<&[u8]>) {
    let inside = text.strip_suffix(b"]").and_then(|text| Some((text, memchr::memrchr(b'[', text)?)));
    match inside {
        Some((text, open)) => (lex::text(&text[..open]), Some(&text[open + 1..])),
        None => (lex::text(text), None),
    }
}

/// `0xffffff6005957346 (devhost:pci#2:eth-irq-thread)`: process and thread; either can have a colon, so that the last one counts.
fn thread(rest: &[u8]) -> Option<(Option<String>, Option<String>)> {
    let inside = rest[memchr::memchr(b'(', rest)? + 1..].strip_suffix(b")")?;
    let colon = memchr::memrchr(b':', inside)?;
    let name = |name: &[u8]| Some(lex::text(name)).filter(|name| !name.is_empty());
    Some((name(&inside[..colon]), name(&inside[colon + 1..])))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
ZIRCON KERNEL PANIC
dso: id=0a1b base=0xffffffff00100000 name=zircon.elf
dump_thread: t 0xffffff6005957346 (devhost:pci#2:irq-thread)
 RIP: 0x0039b3c9  A::B object/d.cpp:104
 CS:                0x10 RIP: 0xffffffff0039b3c9 EFL:            0x30798 CR2:                0x8
bt#00: 0x00301d98 platform_halt a/power.cpp:122
bt#01: [ inline ] C::D a/d.cpp:1
bt#01: 0xffffffff00106e46
bt#02: end
bt#00: 0xffffffff00105e46
[00090.900] 03305.03332> <== fatal exception: process fshost[1127] thread root[1246]
[00090.901] 03305.03332> bt#01: pc 0x86ba135814ac sp 0x792246a96ca6 (libc.so,0x384ac)
[00090.901] 03305.03332> bt#02: end
";

    #[test]
    fn stacks_of_kernel_and_programs_are_told_apart() {
        let text = TEXT.as_bytes();
        assert_eq!(Fuchsia.sniff(text), Confidence::Certain);
        let capture = Fuchsia.parse(text);
        let [first, second, third] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((first.process.as_deref(), first.thread.as_deref(), first.line), (Some("devhost:pci#2"), Some("irq-thread"), 4));
        let roles: Vec<_> = first.frames.iter().map(|frame| (frame.role, frame.address.map(|at| at.0 as u32))).collect();
        assert_eq!(roles, [(Role::Fault, Some(0x39_b3c9)), (Role::Call, None), (Role::Inline, None), (Role::Call, Some(0x10_6e46))]);
        assert_eq!((second.frames.len(), second.kind), (1, StackKind::Crash));
        assert_eq!((third.process.as_deref(), third.pid, third.tid.as_deref()), (Some("fshost"), Some(1127), Some("1246")));
        assert_eq!((third.frames.len(), third.user_frames.len()), (0, 1));
        assert_eq!((capture.images.len(), capture.headlines.len()), (1, 2));
    }

    #[test]
    fn programs_of_a_fuzzer_are_no_crash() {
        let capture = Fuchsia.parse(b"<== fatal exception: process /tmp/syz-executor14[1] thread a[2]\n");
        assert!(capture.headlines.is_empty());
    }
}

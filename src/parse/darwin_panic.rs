//! The text of a macOS panic: Mac OS X 10.5 to macOS 26, i386, x86_64 and arm64.
//!
//! ```text
//! panic(cpu 4 caller 0xffffff8000205355): Kernel trap at 0xffffff7f80ef9bb0, type 14=page fault, registers:
//! …
//! Backtrace (CPU 4), Frame : Return Address
//! 0xffffff815d3c3940 : 0xffffff8000205218
//! …
//!       Kernel Extensions in backtrace:
//!          net.example.zfs(1.3.1)[51665BB2-6394-354B-A77C-5CEF56345E68]@0xffffff7f90340000->0xffffff7f90348fff
//! …
//! Kernel slide:     0x000000000d800000
//! ```
//! Sources: xnu, osfmk/kern/debug.c, osfmk/i386, osfmk/arm64, libkern/c++/OSKext.cpp, xnu-1228 (10.5) to xnu-12377 (26). All addresses
//! have the slide in them. `darwin_panic_view` takes off what mail and other logs put before lines, `darwin_panic_frame`
//! reads frames, `darwin_panic_words` addresses in words, `darwin_panic_kext` kexts, `darwin_panic_fields` what is
//! said about the system; `darwin_panic_log` goes through the lines.

use std::ops::Range;

use memchr::memmem;

use super::darwin_panic_log::Log;
use super::darwin_panic_view::{self, PANIC, Shape, View};
use super::{Confidence, Format, Holds, Part, lex};
use super::{darwin_panic_fields, darwin_panic_frame, darwin_panic_kext};
use crate::model::capture::Capture;
use crate::note::Note;

/// The format.
pub struct DarwinPanic;

/// Lines of frames or slides that are no accident.
const FEWEST_LINES: usize = 2;

impl Format for DarwinPanic {
    fn id(&self) -> &'static str {
        "darwin-panic"
    }
    fn about(&self) -> &'static str {
        "macOS panic text, Mac OS X 10.5 to macOS 26, i386, x86_64 and arm64; also cut, wrapped, or quoted in mail, Markdown, logs and JSON"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"panic(cpu ", b"Backtrace (CPU ", b"*** Panic Report ***", b"Anonymous UUID:", b"Interval Since Last Panic Report:"]
    }
    fn reads_quotations(&self) -> bool {
        true
    }
    /// Addresses of other reports would tell of another architecture.
    fn reach(&self, rest: &[u8]) -> Option<usize> {
        Some(rest.len())
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        // A document has a reader of its own; only without one its lines are taken apart.
        let document = head.trim_ascii_start().starts_with(b"{");
        let shape = Shape::of(head);
        let (mut certain, mut likely) = (false, 0);
        for line in lex::lines(head) {
            let view = shape.view(&line);
            certain |= is_certain(line.bytes);
            likely += weight(&view, &shape);
        }
        match (certain, likely) {
            (true, _) if !document => Confidence::Certain,
            (true, _) | (_, FEWEST_LINES..) => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        Log::new(text, 0).read()
    }

    fn parts(&self, text: &[u8]) -> Vec<Part> {
        let decoded = darwin_panic_view::decoded(text);
        let whole = decoded.as_deref().unwrap_or(text);
        let boots = Log::new(whole, 0).boots();
        if boots.len() < 2 {
            return vec![Part { capture: self.parse(whole), text: decoded, source: None }];
        }
        // One capture has one slide: panics of several boots are reports of their own, whose lines count on.
        let part = |boot: &Range<usize>| {
            let before = memchr::memchr_iter(b'\n', &whole[..boot.start]).count() as u32;
            let text = whole[boot.clone()].to_vec();
            Part { capture: Log::new(&text, before).read(), text: Some(text), source: None }
        };
        let mut parts: Vec<Part> = boots.iter().map(part).collect();
        let text = format!("panics of {} boots in one text, by their slides and kernels; each is a report of its own", boots.len());
        parts[0].capture.notes.push(Note::warning("", text));
        parts
    }
}

/// Whether a line is one that only this kernel's panics have.
fn is_certain(line: &[u8]) -> bool {
    let called = memmem::find(line, PANIC).is_some_and(|at| memmem::find(&line[at..], b" caller 0x").is_some_and(|at| at < 32));
    let headed = memmem::find(line, b"Backtrace (CPU ").is_some() && memmem::find(line, b"Return Address").is_some();
    called || headed || (memmem::find(line, b"Panicked thread: 0x").is_some() && memmem::find(line, b"backtrace: 0x").is_some())
}

/// How much a line speaks for a panic of which only a piece is left.
fn weight(view: &View<'_>, shape: &Shape) -> usize {
    let body = view.body;
    let starts = |words: &[&[u8]]| words.iter().any(|word| body.starts_with(word));
    if starts(&[b"Kernel Extensions in backtrace", b"Kernel loadable modules in backtrace"]) {
        return FEWEST_LINES;
    }
    if darwin_panic_kext::last(body, shape).is_some() || darwin_panic_kext::range(body, shape).is_some_and(|kext| kext.id.is_some()) {
        return FEWEST_LINES;
    }
    let frame = || darwin_panic_frame::words(body, shape).is_some_and(|words| !body.starts_with(b"lr:") || words.address >> 47 != 0);
    let registers = || starts(&[b"pc: "]) && memmem::find(body, b"esr: 0x").is_some();
    usize::from(darwin_panic_fields::is_slide(body) || frame() || registers())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_of_others_are_not_taken() {
        for text in [
            "panic: ffs_blkfree: freeing free block\ncpuid = 0\nKDB: stack backtrace:\n#0 0xffffffff80c0 at kdb_backtrace+0x67\n",
            "Kernel panic - not syncing: Fatal exception\nCall Trace:\n f+0x1/0x2\n",
            "panic: kernel diagnostic assertion \"x\" failed\nStarting stack trace...\npanic() at panic+0x147\n",
            "Index Refs Address            Size       Wired      Name (Version) <Linked Against>\n",
            "",
        ] {
            assert_eq!(DarwinPanic.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }

    #[test]
    fn powerpc_has_rows_of_return_addresses() {
        let text = "panic(cpu 0 caller 0x0023CC54): assertion failed\nLatest stack backtrace for cpu 0:\n      Backtrace:\n\
            \x20        0x000952D8 0x000957F0 0x00026898 0x00026C6C 0x002A8B4C 0x00026898 0x00026C6C 0x002A8B4C \n         0x00000000 \n\
            Proceeding back via exception chain:\n   Exception state (sv=0x2D0A4C80)\n      Backtrace:\n         0x00095300 \n\n\
            Kernel version:\nDarwin Kernel Version 8.2.0: Fri Jun 24 17:46:54 PDT 2005; root:xnu-792.2.4.obj~3/RELEASE_PPC\n";
        let capture = DarwinPanic.parse(text.as_bytes());
        assert_eq!((capture.arch, capture.slide.map(|slide| slide.0)), (Some(crate::model::addr::Arch::Ppc), Some(0)));
        let rows: Vec<_> = capture.stacks.iter().filter(|stack| !stack.aside).map(|stack| stack.frames.len()).collect();
        assert_eq!(rows, [9, 1]);
        let frames = &capture.stacks[0].frames;
        assert_eq!(frames[1].text.of(text.as_bytes(), frames[1].line_start), b"0x000957F0");
        assert!(frames[8].is_end() && frames[7].reliable);
    }

    #[test]
    fn pieces_are_known_by_two_lines() {
        let likely = |text: &str| DarwinPanic.sniff(text.as_bytes());
        assert_eq!(
            likely("Kernel slide:     0x000000000d800000\nKernel text base: 0xffffff800da00000\n__HIB  text base: 0xffffff800d900000\n"),
            Confidence::Likely
        );
        assert_eq!(likely("last loaded kext at 74261161125: net.a.b\t1.6.0 (addr 0xffffff7f973af000, size 2777088)\n"), Confidence::Likely);
        assert_eq!(likely("0xffffffd02deffb90 : 0xffffff8018cd8b14 \n0xffffffd02deffbb0 : 0xffffff8018cd902f \n"), Confidence::Likely);
        assert_eq!(
            likely("\t\t  lr: 0xfffffe0015268b24  fp: 0xfffffe180b38fad0\n\t\t  lr: 0xfffffe0016bf5c4c  fp: 0xfffffe180b38fce0\n"),
            Confidence::Likely
        );
        assert_eq!(likely("{\"panicString\": \"panic(cpu 1 caller 0xfffffe0015268b24): x\"}"), Confidence::Likely);
        assert_eq!(likely("0xffffff8018cd8b14\n0xffffff8018cd902f\n"), Confidence::No);
    }
}

//! Backtraces that SystemTap's `print_backtrace` and `print_stack` write, each followed by its count.
//!
//! ```text
//!  0xffffffff8103ce3b : native_safe_halt+0xb/0x10 [kernel]
//!  0xffffffff8101c6a3 : default_idle+0x13/0x70 [kernel] (inexact)
//!      42
//! ```
//! Frames marked `(inexact)` are guesses of its unwinder. Sample: FlameGraph's `stackcollapse-stap.pl`.

use super::lex::{self, Line};
use super::samples::{self, Offset, Samples};
use super::{Confidence, Format, Holds, atos};
use crate::model::addr::Avma;
use crate::model::capture::Capture;
use crate::model::stack::{RawFrame, Stack};

/// The format.
pub struct SystemTap;

impl Format for SystemTap {
    fn id(&self) -> &'static str {
        "systemtap"
    }
    fn about(&self) -> &'static str {
        "SystemTap's print_backtrace and print_stack, with or without counts"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"[kernel]"]
    }
    /// Frames of other tools have the mark too.
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        frame(super::first_line(rest)).is_some() && self.sniff(rest) == Confidence::Certain
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        // Panics of macOS pair two addresses in this way, without a name and a module in brackets.
        let named = |line: &[u8]| frame(line).is_some_and(|(frame, _)| !frame.symbol.is_empty()) && memchr::memchr(b'[', line).is_some();
        match lex::lines(head).filter(|line| named(line.bytes)).take(2).count() {
            0 => Confidence::No,
            1 => Confidence::Likely,
            _ => Confidence::Certain,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader::default();
        for line in lex::lines(text) {
            reader.line(&line);
        }
        reader.close(1);
        reader.samples.finish(self.id())
    }
}

#[derive(Default)]
struct Reader {
    samples: Samples,
}

impl Reader {
    /// Without a count, any other line ends a stack that was seen once.
    fn line(&mut self, line: &Line<'_>) {
        if let Some((frame, kernel)) = frame(line.bytes) {
            self.samples.push(line, frame, kernel);
        } else if !self.samples.note(line) {
            self.close(lex::decimal(line.bytes.trim_ascii()).unwrap_or(1));
        }
    }

    fn close(&mut self, count: u64) {
        self.samples.close(Stack { count, ..Stack::default() });
    }
}

/// Reads `0xADDR : NAME+0xOFF/0xSIZE [MODULE]`, and whether it is the kernel's.
fn frame(line: &[u8]) -> Option<(RawFrame, bool)> {
    let (body, place) = samples::location(line.trim_ascii());
    let at = memchr::memmem::find(body, b" : ")?;
    let value = lex::hex(&body[..at])?;
    let rest = body[at + 3..].trim_ascii();
    let (rest, inexact) = rest.strip_suffix(b" (inexact)").map_or((rest, false), |rest| (rest, true));
    let (word, module) = match rest.strip_suffix(b"]").and_then(|rest| Some((rest, memchr::memmem::rfind(rest, b"[")?))) {
        Some((rest, open)) => (rest[..open].trim_ascii_end(), Some(&rest[open + 1..])),
        None => (rest, None),
    };
    let text = atos::span(line, body);
    let mut frame = match word {
        b"" | b"0x0" => samples::address(line, &body[..at], value),
        word if lex::hex(word).is_some() => samples::address(line, &body[..at], value),
        word => RawFrame { address: Some(Avma(value)), ..samples::symbol(line, word, Offset::Hex)? },
    };
    let own = module.filter(|module| !module.is_empty() && !matches!(*module, b"kernel") && !module.contains(&b'/'));
    frame.module = own.map(|module| atos::span(line, module)).unwrap_or_default();
    frame.location = place.map(|place| atos::span(line, place)).unwrap_or_default();
    (frame.text, frame.reliable) = (text, !inexact);
    Some((frame, value >= samples::KERNEL))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses_are_unreliable_and_counts_count() {
        let text = b" 0xffffffff8103ce3b : native_safe_halt+0xb/0x10 [kernel]\n 0xffffffffc0a1b2c3 : zio_wait+0x63/0x300 [zfs] (inexact)\n \
            0x7f533952bc77 : ioctl+0x7/0x20 [/usr/lib/libc.so.6]\n    42\n\n 0xffffffff8101c6a3\n 0xffffffff8101c6a3 : 0xffffffff8101c6a3\n";
        assert_eq!(SystemTap.sniff(text), Confidence::Certain);
        let capture = SystemTap.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|stack| (stack.count, stack.frames.len(), stack.user_frames.len())).collect();
        assert_eq!(seen, [(42, 2, 1), (1, 1, 0)]);
        let frames: Vec<_> = capture.stacks[0].frames.iter().map(|frame| (frame.offset, frame.size, frame.reliable)).collect();
        assert_eq!(frames, [(Some(0xb), Some(0x10), true), (Some(0x63), Some(0x300), false)]);
    }
}

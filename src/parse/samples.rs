//! What the readers of profiles have in common: samples put together from frames and their count.

use super::atos;
use super::lex::{self, Line};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Span, Stack, StackKind};
use crate::note::Note;

/// Linux addresses from here on are the kernel's: the upper half of 64 bits.
pub const KERNEL: u64 = 0xffff_0000_0000_0000;

/// Samples so far, and the frames of the one that is being read.
#[derive(Default)]
pub struct Samples {
    stacks: Vec<Stack>,
    kernel: Vec<RawFrame>,
    user: Vec<RawFrame>,
    /// Line of the latest frame or of what kstack wrote below it.
    latest: u32,
    arch: Option<Arch>,
}

impl Samples {
    /// Whether the sample that is being read has frames.
    pub fn is_open(&self) -> bool {
        !(self.kernel.is_empty() && self.user.is_empty())
    }

    /// Whether it has frames of a program.
    pub fn has_user(&self) -> bool {
        !self.user.is_empty()
    }

    /// Adds a frame; the innermost is where the CPU was, and of the kernel's frames the innermost is so even behind a program's.
    pub fn push(&mut self, line: &Line<'_>, frame: RawFrame, kernel: bool) {
        let inner = self.kernel.is_empty() && (kernel || self.user.is_empty());
        let lookup = if inner { Lookup::Exact } else { Lookup::Return };
        let frame = RawFrame { line: line.number, line_start: line.start, lookup, ..frame };
        let high = frame.address.filter(|address| kernel && address.0 >= 0xffff_ffff_8000_0000);
        self.arch = self.arch.or(high.map(|_| Arch::X86_64));
        self.latest = line.number;
        if kernel { self.kernel.push(frame) } else { self.user.push(frame) }
    }

    /// Moves the latest `count` frames of the one side to the other: something told late whose they are.
    pub fn turn(&mut self, count: usize, to_kernel: bool) {
        let (from, to) = if to_kernel { (&mut self.user, &mut self.kernel) } else { (&mut self.kernel, &mut self.user) };
        let first = from.len().saturating_sub(count);
        let inner = if to_kernel && to.is_empty() { Some(to.len()) } else { None };
        to.extend(from.drain(first..));
        if let Some(frame) = inner.and_then(|at| to.get_mut(at)) {
            frame.lookup = Lookup::Exact;
        }
    }

    /// Forgets the frames so far: they were words of other text.
    pub fn discard(&mut self) {
        self.kernel.clear();
        self.user.clear();
    }

    /// Tells how often the latest sample was seen, which was said behind another.
    pub fn recount(&mut self, count: u64) {
        self.stacks.last_mut().into_iter().for_each(|stack| stack.count = count);
    }

    /// Turns the frames so far around: they were printed outermost first.
    pub fn reverse(&mut self) {
        for side in [&mut self.kernel, &mut self.user] {
            side.reverse();
            side.iter_mut().for_each(|frame| frame.lookup = Lookup::Return);
        }
        let inner = if self.kernel.is_empty() { self.user.first_mut() } else { self.kernel.first_mut() };
        inner.into_iter().for_each(|frame| frame.lookup = Lookup::Exact);
    }

    /// Takes a line that an earlier run of kstack wrote below a kernel frame: ` FUNCTION FILE:LINE [inline]`.
    pub fn note(&mut self, line: &Line<'_>) -> bool {
        let note = line.bytes.trim_ascii_end().ends_with(b" [inline]") && self.is_open() && self.latest + 1 == line.number;
        if let Some(frame) = self.kernel.last_mut().filter(|_| note) {
            frame.notes += 1;
            self.latest = line.number;
        }
        note
    }

    /// Ends the sample, if it has frames; `stack` says whose it is and how often it was seen. Gives back the line where it begins.
    pub fn close(&mut self, stack: Stack) -> Option<u32> {
        let first = self.kernel.iter().chain(&self.user).map(|frame| frame.line).min()?;
        let line = if stack.line == 0 { first } else { stack.line };
        self.push_stack(Stack { line, ..stack });
        Some(line)
    }

    /// As [`Samples::close`], for a stack that counts even without frames where it says its line.
    pub fn end(&mut self, stack: Stack) {
        if self.is_open() || stack.line == 0 {
            self.close(stack);
        } else {
            self.push_stack(stack);
        }
    }

    fn push_stack(&mut self, stack: Stack) {
        let (kernel, user) = (std::mem::take(&mut self.kernel), std::mem::take(&mut self.user));
        self.stacks.push(Stack { kind: StackKind::Sample, frames: kernel.into(), user_frames: user.into(), ..stack });
    }

    /// Everything that was read. Frames without a count at the end are a cut sample.
    pub fn finish(mut self, format: &'static str) -> Capture {
        let cut = self.is_open().then(|| {
            let text = "the last stack has no count, as if the end were missing; counted 0 times";
            Note::warning("", text.to_string())
        });
        self.close(Stack::default());
        Capture {
            format,
            os: Some(Os::Linux),
            arch: self.arch,
            basis: Some(Basis::Runtime),
            stacks: self.stacks,
            notes: cut.into_iter().collect(),
            ..Capture::default()
        }
    }
}

/// How a symbol's offset is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offset {
    /// `+14`, bpftrace's.
    Decimal,
    /// `+0xe` or `+0xe/0x10`.
    Hex,
}

/// Reads `NAME`, `NAME+OFFSET`, `NAME+OFFSET/SIZE`; `None` when what is left is no name.
pub fn symbol(line: &[u8], word: &[u8], form: Offset) -> Option<RawFrame> {
    let plus = memchr::memrchr(b'+', word);
    let number = |digits: &[u8]| if form == Offset::Decimal { lex::decimal(digits) } else { lex::hex(digits) };
    let split = plus.and_then(|at| {
        let (offset, size) = match memchr::memchr(b'/', &word[at + 1..]) {
            Some(slash) => (&word[at + 1..at + 1 + slash], Some(lex::hex(&word[at + 2 + slash..])?)),
            None => (&word[at + 1..], None),
        };
        Some((&word[..at], number(offset)?, size))
    });
    let (name, offset, size) = split.map_or((word, None, None), |(name, offset, size)| (name, Some(offset), size));
    if name.is_empty() || name.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let unknown = name == b"[unknown]";
    Some(RawFrame {
        offset: offset.filter(|_| !unknown),
        size,
        text: atos::span(line, word),
        symbol: if unknown { Span::default() } else { atos::span(line, name) },
        reliable: true,
        ..RawFrame::default()
    })
}

/// A frame that is an address alone.
pub fn address(line: &[u8], word: &[u8], value: u64) -> RawFrame {
    RawFrame { address: Some(Avma(value)), text: atos::span(line, word), reliable: true, ..RawFrame::default() }
}

/// Whether a name is one that only a program has: demangled. The names of the kernel's symbols, also of its Rust, are printed as they are.
pub fn is_programs(name: &[u8]) -> bool {
    name.iter().any(|b| matches!(b, b'(' | b'<' | b':' | b' ')) && name.first() != Some(&b'<')
}

/// Splits the ` FILE:LINE` off that kstack appends to a Linux frame.
pub fn location(body: &[u8]) -> (&[u8], Option<&[u8]>) {
    let found = memchr::memrchr(b' ', body).filter(|at| {
        let line = body[at + 1..].rsplitn(2, |b| *b == b':').next().unwrap_or_default();
        lex::decimal(line).is_some() && line.len() + 1 < body.len() - at - 1
    });
    found.map_or((body, None), |at| (body[..at].trim_ascii_end(), Some(&body[at + 1..])))
}

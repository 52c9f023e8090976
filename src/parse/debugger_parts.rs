//! What the readers of debuggers' output share: numbers of frames, addresses, and stacks that grow line by line.

use super::lex::{self, Line};
use super::linux_prefix::{Context, Record};
use super::linux_symbol::{self, Cursor};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Stack};

/// A line as the readers of Linux frames take it.
pub(super) fn record<'t>(line: &Line<'t>) -> Record<'t> {
    Record { context: Context::Bare, line: line.number, line_start: line.start, at: 0, text: line.bytes }
}

/// `#12 ` and the blanks behind it.
pub(super) fn number(cursor: &mut Cursor<'_, '_>) -> Option<u32> {
    let rest = cursor.rest().strip_prefix(b"#")?;
    let len = rest.iter().take(7).take_while(|b| b.is_ascii_digit()).count();
    let number = lex::decimal(&rest[..len])?;
    if !matches!(rest.get(len), Some(b' ' | b'\t')) {
        return None;
    }
    cursor.at += 1 + len;
    cursor.blanks();
    u32::try_from(number).ok()
}

/// An address of 8 to 16 hex digits that fill their word; with `0x` in front any number of them.
pub(super) fn address(cursor: &mut Cursor<'_, '_>) -> Option<Avma> {
    let rest = cursor.rest();
    let len = rest.iter().take(19).take_while(|b| b.is_ascii_alphanumeric()).count();
    let word = &rest[..len];
    let value = lex::hex(word).or_else(|| if len >= 8 { lex::bare_hex(word) } else { None })?;
    cursor.at += len;
    Some(Avma(value))
}

/// Everything up to the next blank.
pub(super) fn word<'t>(cursor: &mut Cursor<'_, 't>) -> &'t [u8] {
    let rest = cursor.rest();
    let len = rest.iter().position(|b| matches!(b, b' ' | b'\t')).unwrap_or(rest.len());
    cursor.at += len;
    &rest[..len]
}

/// ` SYM FILE:LINE` and ` FILE:LINE` that an earlier run of kstack added to a frame.
pub(super) fn found_before(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) {
    let before = cursor.at;
    cursor.blanks();
    match cursor.symbol().filter(|_| frame.symbol.is_empty()) {
        Some(found) => (frame.symbol, frame.offset, frame.size, frame.module) = (found.symbol, found.offset, found.size, found.module),
        None => cursor.at = before,
    }
    if frame.location.is_empty() {
        linux_symbol::located(cursor, frame);
    }
}

/// The architecture that a frame tells of: by the function through which its task entered the kernel, or by where x86_64 has its code.
pub(super) fn arch(frame: &RawFrame, text: &[u8]) -> Option<Arch> {
    let by_address = || frame.address.filter(|at| at.0 >> 31 == 0x1_ffff_ffff).map(|_| Arch::X86_64);
    linux_symbol::arch_of_entry(frame.symbol.of(text, frame.line_start)).or_else(by_address)
}

/// Whether code below `symbol` was interrupted, so that the address of the next frame is no return address: the entries of exceptions
/// and interrupts in arch/x86/entry/entry_64.S and arch/x86/include/asm/idtentry.h (6.12), and those of older kernels.
pub(super) fn interrupts(symbol: &[u8]) -> bool {
    const ENTRIES: [&[u8]; 4] = [b"asm_exc_", b"asm_sysvec_", b"asm_common_interrupt", b"asm_spurious_interrupt"];
    ENTRIES.iter().any(|entry| symbol.starts_with(entry)) || matches!(symbol, b"page_fault" | b"apic_timer_interrupt" | b"el1h_64_irq")
}

/// What a debugger's output says: run-time addresses, and nothing of where images lie.
pub(super) fn capture(format: &'static str, os: Option<Os>, arch: Option<Arch>, stacks: Collector) -> Capture {
    Capture { format, os, arch, basis: Some(Basis::Runtime), stacks: stacks.finish(), ..Capture::default() }
}

/// Stacks in the order of the report, the latest of them still open.
#[derive(Default)]
pub(super) struct Collector {
    stacks: Vec<Stack>,
    open: Option<Stack>,
    frames: Vec<RawFrame>,
}

impl Collector {
    /// Ends the open stack and begins another.
    pub(super) fn open(&mut self, stack: Stack) {
        self.close();
        self.open = Some(stack);
    }

    /// Adds a frame; without a heading its line begins the stack.
    pub(super) fn push(&mut self, frame: RawFrame) {
        self.open.get_or_insert_with(|| Stack { line: frame.line, count: 1, ..Stack::default() });
        self.frames.push(frame);
    }

    /// Whether a heading or a frame began a stack that goes on.
    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The frames of the open stack.
    pub(super) fn frames(&mut self) -> &mut [RawFrame] {
        &mut self.frames
    }

    /// The heading of the open stack, as long as no frame followed it.
    pub(super) fn heading(&mut self) -> Option<&mut Stack> {
        self.open.as_mut().filter(|_| self.frames.is_empty())
    }

    /// Ends the open stack. One without frames is none.
    pub(super) fn close(&mut self) {
        let frames = std::mem::take(&mut self.frames);
        if let (Some(stack), false) = (self.open.take(), frames.is_empty()) {
            self.stacks.push(Stack { frames: frames.into(), ..stack });
        }
    }

    /// Those that have ended.
    pub(super) fn closed(&mut self) -> &mut [Stack] {
        &mut self.stacks
    }

    /// All of them.
    pub(super) fn finish(mut self) -> Vec<Stack> {
        self.close();
        self.stacks
    }
}

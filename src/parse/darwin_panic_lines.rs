//! Single lines of a macOS panic: what they are, without what stands around them.

use memchr::memmem;

use super::darwin_panic_view::{PANIC, View};
use super::{atos, lex};
use crate::model::stack::{RawFrame, Span};

/// The processor of `panic(cpu N caller …`, when a line begins so.
pub fn panic_of(body: &[u8]) -> Option<Option<u32>> {
    let rest = body.strip_prefix(PANIC)?;
    (digits(rest) > 0).then(|| number(rest))
}

/// Lines of registers that never are the rest of a panic's first.
pub fn is_register_line(body: &[u8]) -> bool {
    const FIRST: &[&[u8]] =
        &[b"CR0:", b"RAX:", b"RSP:", b"R8:", b"R12:", b"RFL:", b"Fault CR2:", b"EAX:", b"CR2:", b"EFL:", b"Error code:", b"CPU "];
    let arm = |rest: &[u8]| {
        rest.first().is_some_and(u8::is_ascii_digit)
            && memmem::find(rest, b": 0x").or(memmem::find(rest, b":  0x")).is_some_and(|at| at < 3)
    };
    FIRST.iter().any(|name| body.starts_with(name))
        || body.strip_prefix(b"x").is_some_and(arm)
        || body.starts_with(b"pc: ")
        || body.starts_with(b"fp: ")
}

/// A line that kstack wrote for an address in words: `caller: f (in kernel) + 56 (0x…) trap.c:57`.
pub fn note(view: &View<'_>) -> Option<(Vec<u8>, RawFrame)> {
    const LABELS: &[&[u8]] = &[b"caller", b"pc", b"lr", b"RIP", b"EIP", b"rip", b"PC", b"LR", b"instr at"];
    let colon = memmem::find(view.body, b": ")?;
    let label = &view.body[..colon];
    let rest = &view.body[colon + 2..];
    if !(LABELS.contains(&label) || label.ends_with(b" at")) || memmem::find(rest, b" (in ").is_none() {
        return None;
    }
    let open = memmem::find(rest, b" (0x")?;
    let close = open + memchr::memchr(b')', &rest[open..])?;
    // What is behind are places, never the frame pointer of a backtrace.
    if memmem::find(&rest[close..], b"fp:").is_some() {
        return None;
    }
    let frame = atos::frame(&rest[..close + 1])?;
    let from = (view.at + colon + 2) as u32;
    let shift = |span: Span| if span.is_empty() { span } else { Span { start: span.start + from, end: span.end + from } };
    let frame = RawFrame {
        line: view.number,
        line_start: view.start,
        label: Span { start: view.at as u32, end: (view.at + colon) as u32 },
        text: Span { start: from, end: (view.at + view.body.len()) as u32 },
        symbol: shift(frame.symbol),
        module: shift(frame.module),
        ..frame
    };
    Some((label.to_vec(), frame))
}

/// What stands behind `words`.
pub fn after<'b>(body: &'b [u8], words: &[u8]) -> Option<&'b [u8]> {
    memmem::find(body, words).map(|at| &body[at + words.len()..])
}

/// How many decimal digits `bytes` begins with.
pub fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// The number that `bytes` begins with.
pub fn number(bytes: &[u8]) -> Option<u32> {
    lex::decimal(&bytes[..digits(bytes)]).and_then(|number| u32::try_from(number).ok())
}

//! Frames of the BSD kernels on machines whose debuggers write them in ways of their own.
//!
//! ```text
//! vpanic() at panic+0x4c                                         FreeBSD to 12, arm64: the place is where the function returns to
//!          pc = 0xffffff800015445c  lr = 0xffffff800015456c
//! 0xc00800001c1b1250: at vpanic+0x1d8                            FreeBSD, powerpc: the call itself, not where it returns to
//! 0xc00800001c1b14f0: kernel DSI write trap @ 0x18 by f+0x134: srr1=0x9000000000009032
//! (null)() at 0xffff000000000010                                 FreeBSD, arm64 and riscv: no symbol covers the address
//! ```
//! Sources: `db_stack_trace_cmd` in sys/arm64/arm64/db_trace.c (11 and 12) and sys/arm/arm/db_trace.c, `db_backtrace` in
//! sys/powerpc/powerpc/db_trace.c (FreeBSD).

use memchr::memmem;

use super::bsd_frame::{self, Found, Style};
use super::lex;
use crate::model::stack::{Lookup, RawFrame, Role};

/// The frame that `body`, a line without blanks around it, is. Spans are relative to its start.
pub fn frame(body: &[u8]) -> Option<Found> {
    powerpc(body).or_else(|| nameless(body))
}

/// `0xADDR: at NAME+0xH`, `0xADDR: kernel WHAT trap by NAME+0xH: srr1=0xH`. What a user's program did is no frame of the kernel.
fn powerpc(body: &[u8]) -> Option<Found> {
    let (sp, rest) = body.split_at(body.iter().position(|b| *b == b':')?);
    lex::hex(sp)?;
    if rest.starts_with(b": at ") {
        let mut frame = bsd_frame::target(body, sp.len() + b": at ".len())?;
        frame.lookup = Lookup::Exact;
        return Some(found(frame));
    }
    let end = memmem::find(body, b": srr1=0x").filter(|_| rest.starts_with(b": kernel "))?;
    let place = body[..end].iter().rposition(|b| *b == b' ')? + 1;
    let mut frame = bsd_frame::target(&body[..end], place)?;
    (frame.lookup, frame.role) = (Lookup::Exact, Role::Regs);
    Some(found(frame))
}

/// `(null)() at 0xADDR`.
fn nameless(body: &[u8]) -> Option<Found> {
    const NAMELESS: &[u8] = b"(null)() at ";
    let frame = bsd_frame::target(body, NAMELESS.len()).filter(|_| body.starts_with(NAMELESS))?;
    frame.address.map(|_| found(frame))
}

fn found(frame: RawFrame) -> Found {
    Found { frame, style: Style::Port, number: None }
}

/// `f() at g+0xH`, where a line of registers follows: `f` returns to that place in `g`, which is the frame. Of the innermost function
/// no place is printed.
pub fn returning(body: &[u8]) -> Option<Found> {
    let open = body.iter().position(|b| *b == b'(')?;
    let place = open + b"() at ".len();
    if !bsd_frame::is_name(&body[..open]) || body.get(open..place)? != b"() at " {
        return None;
    }
    let mut frame = bsd_frame::target(body, place)?;
    // What stands before is another function and stays.
    frame.text.start = place as u32;
    Some(found(frame))
}

/// Whether a line says what registers held below a frame: `pc = 0x…  lr = 0x…`, `r4 = 0x…`, `r1=0x… cr=0x…`.
pub fn is_registers(text: &[u8]) -> bool {
    let name = text.split(|b| matches!(b, b' ' | b'=')).next().unwrap_or_default();
    let numbered = name.strip_prefix(b"r").is_some_and(|digits| digits.len() <= 2 && lex::decimal(digits).is_some());
    let value = &text[name.len()..];
    (numbered || name == b"pc" || name == b"sp") && (value.starts_with(b" = 0x") || value.starts_with(b"=0x"))
}

/// Whether a line in which a debugger says what it went past, `--- trap 0xc, rip = … ---`, is one behind which stands the very
/// instruction that was interrupted.
pub fn is_trap(what: &[u8]) -> bool {
    // amd64 and NetBSD, riscv (sys/riscv/riscv/db_trace.c), arm64 from 13 on.
    let traps: [&[u8]; 5] = [b"trap", b"interrupt", b"exception", b"system error", b"unhandled exception"];
    traps.iter().any(|trap| what.starts_with(trap))
}

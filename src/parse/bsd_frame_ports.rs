//! Frames of the BSD kernels on machines whose debuggers write them in ways of their own.
//!
//! ```text
//! vpanic() at panic+0x4c                                         FreeBSD to 12, arm64: the place is where the function returns to
//!          pc = 0xffffff800015445c  lr = 0xffffff800015456c
//! 0xc00800001c1b1250: at vpanic+0x1d8                            FreeBSD, powerpc: the call itself, not where it returns to
//! 0xc00800001c1b14f0: kernel DSI write trap @ 0x18 by f+0x134: srr1=0x9000000000009032
//! (null)() at 0xffff000000000010                                 FreeBSD, arm64 and riscv: no symbol covers the address
//! fp ffffc000aabbcc30 f() at ffffc000004d9b64 netbsd:f+0x160     NetBSD, aarch64: the call itself; `tf` where a trap came in
//! fp ffffc000aabbcc90 ?() at ffffc00000ad8a3c                    no symbol covers the address
//! 0xcaa0bc0c: netbsd:f+0x10                                      NetBSD, arm
//! f+0x18 (a,b,c,d)  ra 0xffffffff81380ef8 sp 0xffffffff98b0, sz 32    OpenBSD, mips64
//! ```
//! Sources: `db_stack_trace_cmd` in sys/arm64/arm64/db_trace.c (11 and 12) and sys/arm/arm/db_trace.c, `db_backtrace` in
//! sys/powerpc/powerpc/db_trace.c (FreeBSD), `pr_traceaddr` in sys/arch/aarch64/aarch64/db_trace.c (NetBSD; it takes 4 from where a
//! function returns to), `stacktrace_subr` in sys/arch/mips64/mips64/trap.c (OpenBSD).

use memchr::memmem;

use super::bsd_frame::{self, Found, Style};
use super::lex;
use crate::model::addr::Avma;
use crate::model::stack::{Lookup, RawFrame, Role, Span};

/// The frame that `body`, a line without blanks around it, is. Spans are relative to its start.
pub fn frame(body: &[u8]) -> Option<Found> {
    powerpc(body).or_else(|| nameless(body)).or_else(|| aarch64(body)).or_else(|| arm(body)).or_else(|| mips(body))
}

/// `fp ADDR NAME() at ADDR MODULE:NAME+0xH`; with `/x` the name of a thread stands behind the first address.
fn aarch64(body: &[u8]) -> Option<Found> {
    let sp = body.strip_prefix(b"fp ").or_else(|| body.strip_prefix(b"tf "))?.get(..ADDRESS)?;
    lex::bare_hex(sp)?;
    let at = memmem::find(body, b"() at ")? + b"() at ".len();
    let address = lex::bare_hex(body.get(at..at + ADDRESS)?)?;
    let name = at + ADDRESS + 1;
    let mut frame = match body.get(name..) {
        Some(_) => bsd_frame::target(body, name)?,
        None => RawFrame { text: bsd_frame::span(at, body.len()), ..RawFrame::default() },
    };
    frame.text.start = at as u32;
    (frame.address, frame.lookup) = (Some(Avma(address)), Lookup::Exact);
    Some(Found { style: Style::WithModule, ..found(frame) })
}

/// `0xADDR: MODULE:NAME+0xH`; without the module it could be anything.
fn arm(body: &[u8]) -> Option<Found> {
    let colon = body.iter().position(|b| *b == b':')?;
    lex::hex(&body[..colon])?;
    let frame = bsd_frame::target(body, colon + 2).filter(|frame| body[colon + 1] == b' ' && !frame.module.is_empty())?;
    Some(Found { style: Style::WithModule, ..found(frame) })
}

/// `NAME+0xH (A,B,C,D)  ra 0xH sp 0xH, sz N`.
fn mips(body: &[u8]) -> Option<Found> {
    let close = memmem::find(body, b")  ra 0x")?;
    let size = memmem::find(&body[close..], b", sz ")? + close + b", sz ".len();
    lex::decimal(&body[size..])?;
    let open = memmem::find(&body[..close], b" (")?;
    let are_numbers = body[open + 2..close].iter().all(|b| b.is_ascii_hexdigit() || *b == b',');
    let frame = bsd_frame::target(&body[..open], 0).filter(|frame| are_numbers && frame.offset.is_some())?;
    Some(found(frame))
}

/// Whether `text` looks like the beginning of a frame of mips64 that goes on in the next line: most are longer than a console is wide.
pub fn is_cut(text: &[u8]) -> bool {
    let Some(open) = memmem::find(text, b" (") else { return false };
    let offset = memmem::find(&text[..open], b"+0x").filter(|plus| bsd_frame::is_name(&text[..*plus]));
    let rest = &text[open + 2..];
    let arguments = rest.iter().take_while(|b| b.is_ascii_hexdigit() || **b == b',').count();
    let behind = &rest[arguments..];
    // Behind it can stand the location that an earlier run found.
    let digits = |plus: usize| text[plus + 1..open].split(|b| *b == b' ').next().unwrap_or_default();
    offset.is_some_and(|plus| lex::hex(digits(plus)).is_some()) && (behind.starts_with(b")  ra 0x") || b")  ra 0x".starts_with(behind))
}

/// Whether a line begins or is part of what NetBSD's aarch64 prints of the registers at a trap, between frames; `true` behind its end.
/// `within` says whether that has begun.
pub fn dump(text: &[u8], within: &mut bool) -> Option<bool> {
    if text.starts_with(b"---- ") && text.ends_with(b" ----") && memmem::find(text, b"frame ").is_some() {
        *within = true;
        return Some(false);
    }
    let end = *within && text.len() >= 8 && text.iter().all(|b| *b == b'-');
    *within &= !end && text.contains(&b'=');
    (end || *within).then_some(end)
}

/// How many digits NetBSD's aarch64 prints of an address.
const ADDRESS: usize = 16;

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
    let word = |end: usize| body[..end].iter().rposition(|b| *b == b' ');
    // Behind the name can stand the location that an earlier run found.
    let last = word(end)?;
    let place = if bsd_frame::is_place(&body[last + 1..end]) { word(last)? } else { last } + 1;
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
    Found { frame, style: Style::Port, number: None, inner: None }
}

/// `f() at g+0xH`, where a line of registers follows: `f` returns to that place in `g`, which is the frame. Where in `f` that was says
/// the `pc` below; an earlier run may have written the line of it behind `f()`.
pub fn returning(body: &[u8]) -> Option<Found> {
    let open = body.iter().position(|b| *b == b'(')?;
    let at = open + memmem::find(&body[open..], b" at ")?;
    let place = at + b" at ".len();
    let source = body[..at].strip_prefix(&body[..open]).and_then(|rest| rest.strip_prefix(b"()"))?;
    if !bsd_frame::is_name(&body[..open]) || !(source.is_empty() || source.starts_with(b" ") && bsd_frame::is_place(&source[1..])) {
        return None;
    }
    let mut frame = bsd_frame::target(body, place)?;
    // What stands before is another function and stays.
    frame.text.start = place as u32;
    let location = if source.is_empty() { Span::default() } else { bsd_frame::span(open + 3, at) };
    // It begins with its own address (`db_trace_self` in the same file); what other stacks begin with is where a thread was switched away.
    let lookup = if &body[..open] == b"db_trace_self" { Lookup::Exact } else { Lookup::Return };
    let (symbol, text) = (bsd_frame::span(0, open), bsd_frame::span(0, open + 2));
    let inner = RawFrame { symbol, text, location, lookup, ..RawFrame::default() };
    Some(Found { inner: Some(inner), ..found(frame) })
}

/// The `pc` of the line of registers below a frame of arm64, `pc = 0x…  lr = 0x…`; 32-bit arm names the function of `lr` behind it, and
/// has the place of `pc` above already.
pub fn pc(text: &[u8]) -> Option<Option<Avma>> {
    let word = text.strip_prefix(b"pc = ")?.split(|b| *b == b' ').next()?;
    lex::hex(word).map(|pc| Some(Avma(pc)).filter(|_| !text.ends_with(b")")))
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

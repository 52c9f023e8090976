//! Frames as bcc's tools write them.
//!
//! ```text
//!     b'zio_wait+0x63 [zfs]'                            profile and its like; b'' from old versions of Python
//!     ffffffff810b5462 __wake_up                        -v
//!         0x00007f3a5c0e1d90   main+0x6d [allocs]         memleak since 2022, with a tab before the name
//!         0 [<ffffffff8103ce3b>] kmalloc+0x10           tools of libbpf-tools, with ` [MODULE]` or ` FILE:LINE` behind it
//!         1 [<ffffffff8103ce3c>] <null sym>
//! ```
//! Source: tools/*.py and libbpf-tools/memleak.c, stacksnoop.c, doublefree.c (bcc 0.30).

use super::samples::Offset;
use super::{atos, lex, samples};
use crate::model::stack::{RawFrame, Span};

/// Reads a frame, and whose it is if it says.
pub(super) fn frame(line: &[u8]) -> Option<(RawFrame, Option<bool>)> {
    if lex::indent(line) < 2 && !line.starts_with(b"\t") {
        return None;
    }
    let (body, place) = samples::location(numbered(line.trim_ascii()));
    let body = body.strip_prefix(b"b'").and_then(|body| body.strip_suffix(b"'")).unwrap_or(body);
    let (value, body) = with_address(body).map_or((None, body), |(value, body)| (Some(value), body));
    if let (Some(value), b"<null sym>") = (value, body) {
        return Some((samples::address(line, body, value), Some(value >= samples::KERNEL)));
    }
    let module = body.strip_suffix(b"]").and_then(|rest| memchr::memmem::rfind(rest, b" [").map(|at| (&rest[..at], &rest[at + 2..])));
    let (word, module) = module.map_or((body, None), |(word, module)| (word, Some(module)));
    let mark = |end: &[u8], kernel| word.strip_suffix(end).map(|word| (word, kernel));
    let marked = mark(b"_[k]", true).or(mark(b" [k]", true)).or(mark(b"_[u]", false)).or(mark(b" [u]", false));
    let word = marked.map_or(word, |(word, _)| word);
    if word.contains(&b' ') && !word.contains(&b'(') && !word.contains(&b'<') {
        return None;
    }
    // bpftrace's scripts of the same names write offsets in decimal.
    let decimal = memchr::memrchr(b'+', word).is_some_and(|at| lex::decimal(&word[at + 1..]).is_some());
    let mut frame = samples::symbol(line, word, if decimal { Offset::Decimal } else { Offset::Hex })?;
    let by_address = value.map(|value| value >= samples::KERNEL);
    let kernel = match module {
        Some(b"kernel" | b"k") => Some(true),
        Some(b"u") => Some(false),
        Some(module) => {
            frame.module = atos::span(line, module);
            by_address.or(is_library(module).then_some(false))
        }
        None => by_address.or(samples::is_programs(word).then_some(false)),
    };
    frame.address = value.map(crate::model::addr::Avma);
    frame.location = place.map_or(Span::default(), |place| atos::span(line, place));
    Some((frame, marked.map(|(_, kernel)| kernel).or(kernel)))
}

/// What follows the number of a frame: `0 [<ffffffff8103ce3b>] kmalloc+0x10`. The address loses its brackets later.
fn numbered(body: &[u8]) -> &[u8] {
    let at = memchr::memmem::find(body, b" [<").filter(|at| lex::decimal(&body[..*at]).is_some());
    at.map_or(body, |at| &body[at + 1..])
}

/// The address that stands before a name: in brackets, with `0x` and a tab (memleak), or bare (`-v`).
fn with_address(body: &[u8]) -> Option<(u64, &[u8])> {
    let first = lex::words(body).next()?;
    let rest = body[first.len()..].trim_ascii();
    let bracketed = first.strip_prefix(b"[<").and_then(|word| word.strip_suffix(b">]"));
    let long = first.len() == 16 || (first.len() > 5 && memchr::memmem::find(rest, b"+0x").is_some());
    let value = bracketed.map_or_else(|| lex::bare_hex(first).filter(|_| long), lex::bare_hex);
    let value = value.or_else(|| lex::hex(first).filter(|_| first.len() == 18))?;
    (!rest.is_empty()).then_some((value, rest))
}

/// `libc-2.31.so`, `ld-linux-x86-64.so.2`: modules of the kernel are named without an ending.
fn is_library(module: &[u8]) -> bool {
    module.ends_with(b".so") || memchr::memmem::find(module, b".so.").is_some()
}

/// The functions by which system calls enter the kernel: what follows them called it (arch/x86/entry, arch/arm64/kernel/entry.S,
/// arch/arm/kernel/entry-common.S; 3.10 to 6.17).
pub(super) fn is_entry(function: &[u8]) -> bool {
    const BEGIN: &[&[u8]] = &[b"entry_SYSCALL_64", b"entry_SYSENTER_", b"entry_INT80_"];
    const WHOLE: &[&[u8]] =
        &[b"system_call_fastpath", b"el0t_64_sync", b"el0t_32_sync", b"el0_sync", b"el0_svc_naked", b"ret_fast_syscall"];
    BEGIN.iter().any(|begin| function.starts_with(begin)) || WHOLE.contains(&function)
}

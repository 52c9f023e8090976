//! The lines that Linux prints for a frame, on every architecture and of every age.
//!
//! ```text
//!  __cv_timedwait_common+0x12a/0x160 [spl]                             x86 since 4.10, arm64, riscv, MIPS
//!  ? __bpf_trace_tick_stop+0x10/0x10                                   a leftover on the stack, not of the chain
//!  <IRQ>  [<ffffffff8b252e2a>] schedule+0x5a/0xd0                      x86 up to 4.9
//! [<80de0078>] (dump_backtrace) from [<80de0574>] (show_stack+0x28/0x2c)         arm: two frames
//! [c000000049a87710] [c0000000000286fc] __switch_to+0x43c/0x6d0 (unreliable)     PowerPC: stack pointer, address
//! ([<000003ff8086d036>] will_oops_init+0x36/0x1000 [will_oops])       s390, unreliable
//!  __switch_to+0x2b0/0x6e0 (T)                                         arm64 since 6.13, with its source
//! [<83178634>] 0x83178634 [mt76_usb@83178000+0x2290]                  OpenWrt, whose kernels have no names
//!  __dump_stack lib/dump_stack.c:77 [inline]                           located by a tool before
//! ```
//! Sources: `printk_stack_address` and its like in arch/*/kernel (6.12), kernels 2.6.32 to 6.12. `name+0xOFFSET/0xSIZE`, here
//! called a symbol, is what vsprintf.c writes for `%pS` and `%pB`; the address in brackets was `%p`, which is a hash since 4.15.

use super::lex::{self, Line};
use super::linux_bases;
use super::linux_decoded::decoded;
use super::linux_prefix::{Context, Record};
use super::linux_symbol::{Cursor, bare_value, inlined, inside_parentheses, is_mark, located, name_len};
use crate::model::addr::Avma;
use crate::model::stack::{Lookup, RawFrame, Role};

/// What a line of a trace is.
#[derive(Clone, Copy, Debug)]
pub enum Trace {
    /// One frame.
    One(RawFrame),
    /// `callee from caller`: each line of an arm trace names the caller of the line before once more.
    Pair(RawFrame, RawFrame),
    /// A function and its place, of which nobody says that it is a frame.
    Filler,
}

/// Reads a line of a trace. Line, offset and span are set.
pub fn trace(record: &Record<'_>) -> Option<Trace> {
    let cursor = &mut Cursor { record, at: lex::indent(record.text) };
    cursor.mark();
    let unreliable = cursor.question();
    let mut found = match cursor.peek()? {
        b'[' => bracketed(cursor)?,
        b'(' => Trace::One(parenthesised(cursor)?),
        b'#' => Trace::One(numbered(cursor)?),
        b'F' if cursor.eat(b"Function entered at ") => entered(cursor)?,
        b'0' => Trace::One(bare(cursor)?),
        _ => named(cursor)?,
    };
    if let (Trace::One(frame), true) = (&mut found, unreliable) {
        frame.reliable = false;
    }
    Some(found)
}

/// The frame that stands alone in `line` from byte `from` to byte `to`, where no prefix of a log can be.
pub fn alone(line: &Line<'_>, from: usize, to: usize) -> Option<RawFrame> {
    let (at, text) = (from as u32, line.bytes.get(from..to)?);
    match trace(&Record { context: Context::Bare, line: line.number, line_start: line.start, at, text }) {
        Some(Trace::One(frame)) => Some(frame),
        _ => None,
    }
}

/// The place where execution was, behind the name of its register: `[<A>]  [<A>] SYM`, `[A] SYM`, `SYM`, `A SYM` or `0xA`.
pub fn place(record: &Record<'_>, from: usize) -> Option<RawFrame> {
    let cursor = &mut Cursor { record, at: from };
    cursor.blanks();
    let mut start = cursor.at;
    let mut address = None;
    while let Some(printed) = cursor.address().or_else(|| cursor.plain_address()) {
        if address.is_some() {
            start = cursor.at - printed.len;
        }
        address = Some(printed.value);
        cursor.blanks();
    }
    let mut frame = match cursor.symbol().or_else(|| bare_value(cursor)) {
        Some(frame) => frame,
        None => inlined(&mut Cursor { ..*cursor }).or_else(|| address.flatten().map(|_| cursor.frame(start, cursor.at)))?,
    };
    frame.address = frame.address.or(address.flatten());
    frame.text.start = record.at + start as u32;
    frame.lookup = Lookup::Exact;
    if frame.role == Role::Call {
        located(cursor, &mut frame);
    }
    Some(frame)
}

/// ` SYM`, and everything that can stand behind it; also what earlier tools made of it.
fn named(cursor: &mut Cursor<'_, '_>) -> Option<Trace> {
    if let Some(mut frame) = cursor.symbol() {
        return ends_well(cursor, &mut frame).then_some(Trace::One(frame));
    }
    let start = cursor.at;
    let name = name_len(cursor.rest());
    if name == 0 || cursor.rest().get(name) != Some(&b' ') {
        return None;
    }
    let mut callee = cursor.frame(start, start + name);
    callee.symbol = cursor.span(start, start + name);
    cursor.at += name;
    cursor.module(&mut callee);
    cursor.at += 1;
    if cursor.eat(b"from ") {
        return pair(cursor, callee, false);
    }
    decoded(cursor, callee)
}

/// Whether what follows a frame can follow one: nothing, a place, or a note. Notes that tell of the frame are heeded.
fn ends_well(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) -> bool {
    located(cursor, frame);
    let tail = cursor.rest().trim_ascii();
    match tail {
        b"" | b"[inline]" => true,
        b"(unreliable)" => {
            frame.reliable = false;
            true
        }
        // `f+0x1/0x2() (Not tainted)`, the rest of a warning of kernels up to 3.x that did not fit its line.
        _ if tail.starts_with(b"()") => false,
        // A place in parentheses, the second symbol of a traced function, a module that was torn off.
        _ if tail.starts_with(b"(") => {
            source_note(tail, frame);
            true
        }
        _ => linux_bases::named(cursor, frame) || is_mark(tail),
    }
}

/// `(T)`, `(PF)`: where arm64 has the frame from. The pc of saved registers is the very instruction.
fn source_note(tail: &[u8], frame: &mut RawFrame) {
    let letters = tail.strip_prefix(b"(").and_then(|tail| tail.strip_suffix(b")")).unwrap_or_default();
    if letters.contains(&b'P') && letters.iter().all(|b| b"CTPLUFK".contains(b)) {
        frame.lookup = Lookup::Exact;
    }
}

/// `0xffffffffa04ab03d`, which no symbol covers.
fn bare(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let mut frame = bare_value(cursor)?;
    let behind = &mut Cursor { at: cursor.at + lex::indent(cursor.rest()), ..*cursor };
    // What an earlier run of kstack found.
    if let Some(found) = behind.symbol() {
        frame = RawFrame { address: frame.address, ..found };
        frame.text.start = cursor.record.at + start as u32;
        cursor.at = behind.at;
    }
    ends_well(cursor, &mut frame).then_some(frame)
}

/// What begins with `[`: an address of x86 and others, a stack pointer of PowerPC, the first half of an arm line.
fn bracketed(cursor: &mut Cursor<'_, '_>) -> Option<Trace> {
    let start = cursor.at;
    if let Some(printed) = cursor.address() {
        cursor.blanks();
        if cursor.peek() == Some(b'(') {
            return arm(cursor, start, printed.value);
        }
        let unreliable = cursor.question();
        let frame = addressed(cursor, start, printed.value)?;
        return Some(Trace::One(RawFrame { reliable: frame.reliable && !unreliable, ..frame }));
    }
    let first = cursor.plain_address()?;
    cursor.blanks();
    let second_start = cursor.at;
    match cursor.plain_address() {
        Some(second) => {
            cursor.blanks();
            addressed(cursor, second_start, second.value).map(Trace::One)
        }
        // sparc64 prints one.
        None => addressed(cursor, start, first.value).filter(|frame| !frame.symbol.is_empty()).map(Trace::One),
    }
}

/// What follows an address: a symbol, the address again, or nothing.
fn addressed(cursor: &mut Cursor<'_, '_>, start: usize, address: Option<Avma>) -> Option<RawFrame> {
    let mut frame = match cursor.symbol().or_else(|| bare_value(cursor)) {
        Some(frame) => frame,
        None if cursor.rest().is_empty() || cursor.eat(b"(null)") => cursor.frame(start, cursor.at),
        None => inlined(cursor)?,
    };
    let known = !frame.symbol.is_empty() || frame.address.is_some();
    frame.text.start = cursor.record.at + start as u32;
    frame.address = frame.address.or(address);
    (ends_well(cursor, &mut frame) && (known || frame.address.is_some())).then_some(frame)
}

/// `(name) from [<addr>] (SYM)` behind the first address of an arm line.
fn arm(cursor: &mut Cursor<'_, '_>, start: usize, address: Option<Avma>) -> Option<Trace> {
    let mut callee = inside_parentheses(cursor)?;
    callee.text.start = cursor.record.at + start as u32;
    callee.address = callee.address.or(address);
    located_behind(cursor, &mut callee);
    if !cursor.eat(b" from ") {
        return None;
    }
    pair(cursor, callee, true)
}

/// The caller's half of an arm line. The callee's address is that of its first byte or of its pc.
fn pair(cursor: &mut Cursor<'_, '_>, mut callee: RawFrame, bracketed: bool) -> Option<Trace> {
    let start = cursor.at;
    let address = if bracketed { cursor.address()?.value } else { None };
    cursor.blanks();
    let mut caller = if cursor.peek() == Some(b'(') { inside_parentheses(cursor)? } else { addressed(cursor, start, None)? };
    caller.text.start = cursor.record.at + start as u32;
    caller.address = caller.address.or(address);
    located_behind(cursor, &mut caller);
    callee.lookup = Lookup::Exact;
    Some(Trace::Pair(callee, caller))
}

/// A place that stands behind the parentheses, unless there was one in them.
fn located_behind(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) {
    if frame.location.is_empty() {
        located(cursor, frame);
    }
}

/// `Function entered at [<80de0078>] from [<80de0574>]`: arm without symbols. Behind each half may stand what an earlier run found.
fn entered(cursor: &mut Cursor<'_, '_>) -> Option<Trace> {
    let callee = entered_half(cursor)?;
    if !cursor.eat(b" from ") {
        return None;
    }
    Some(Trace::Pair(RawFrame { lookup: Lookup::Exact, ..callee }, entered_half(cursor)?))
}

fn entered_half(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let address = cursor.address()?.value?;
    let bare = cursor.frame(start, cursor.at);
    let frame = if cursor.eat(b" ") { cursor.symbol() } else { None };
    let mut frame = frame.map_or(bare, |frame| RawFrame { text: cursor.span(start, cursor.at), ..frame });
    frame.address = Some(address);
    located(cursor, &mut frame);
    if frame.symbol.is_empty() && frame.location.is_empty() {
        cursor.at = (frame.text.end - cursor.record.at) as usize;
    }
    Some(frame)
}

/// `([<000003ff8086d036>] will_oops_init+0x36/0x1000 [will_oops])`: what s390 does not rely on.
fn parenthesised(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    cursor.eat(b"(");
    let start = cursor.at;
    let address = cursor.address()?.value;
    cursor.blanks();
    let mut frame = cursor.symbol().or_else(|| bare_value(cursor))?;
    frame.text.start = cursor.record.at + start as u32;
    frame.address = frame.address.or(address);
    frame.reliable = false;
    cursor.eat(b")").then_some(frame)
}

/// `#0 ffffffff810dd2a6 (asan_report_error+0x306/0x410)`: KASAN before it was merged.
fn numbered(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    cursor.eat(b"#");
    cursor.at += cursor.rest().iter().take_while(|b| b.is_ascii_digit()).count();
    cursor.blanks();
    let start = cursor.at;
    let address = cursor.plain_address()?.value;
    cursor.blanks();
    let mut frame = inside_parentheses(cursor).filter(|frame| frame.offset.is_some())?;
    frame.text.start = cursor.record.at + start as u32;
    frame.address = address;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::Span;
    use crate::parse::linux_prefix::Context;

    fn record(text: &str) -> Record<'_> {
        Record { context: Context::Bare, line: 1, line_start: 0, at: 0, text: text.as_bytes() }
    }

    fn one(text: &str) -> RawFrame {
        match trace(&record(text)) {
            Some(Trace::One(frame)) => frame,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn part(text: &str, span: Span) -> &str {
        std::str::from_utf8(span.of(text.as_bytes(), 0)).unwrap()
    }

    #[test]
    fn every_form_of_one_frame_gives_symbol_module_and_reliability() {
        for (line, text, address, reliable) in [
            (" f+0x1/0x2 [zfs]", "f+0x1/0x2 [zfs]", None, true),
            (" ? f+0x1/0x2 [zfs]", "f+0x1/0x2 [zfs]", None, false),
            ("\tf+0x1/0x2 [zfs]", "f+0x1/0x2 [zfs]", None, true),
            (
                " <IRQ>  [<ffffffff8b252e2a>] ? f+0x1/0x2 [zfs]",
                "[<ffffffff8b252e2a>] ? f+0x1/0x2 [zfs]",
                Some(0xffff_ffff_8b25_2e2a),
                false,
            ),
            (
                r" \u003cIRQ\u003e  [\u003cffffffff8b252e2a\u003e] f+0x1/0x2 [zfs] \u003c\u003cEOE\u003e\u003e",
                r"[\u003cffffffff8b252e2a\u003e] f+0x1/0x2 [zfs]",
                Some(0xffff_ffff_8b25_2e2a),
                true,
            ),
            (" [<00000000b2f91fff>] f+0x1/0x2 [zfs]", "[<00000000b2f91fff>] f+0x1/0x2 [zfs]", None, true),
            ("[<0>] f+0x1/0x2 [zfs]", "[<0>] f+0x1/0x2 [zfs]", None, true),
            (
                "[c000000049a87710] [c0000000000286fc] .f+0x1/0x2 [zfs] (unreliable)",
                "[c0000000000286fc] .f+0x1/0x2 [zfs]",
                Some(0xc000_0000_0002_86fc),
                false,
            ),
            ("([<000003ff8086d036>] f+0x1/0x2 [zfs])", "[<000003ff8086d036>] f+0x1/0x2 [zfs]", Some(0x3ff_8086_d036), false),
            ("  #0 ffffffff810dd2a6 (f+0x1/0x2 [zfs])", "ffffffff810dd2a6 (f+0x1/0x2 [zfs])", Some(0xffff_ffff_810d_d2a6), true),
            (" f+0x1/0x2 [zfs] (T)", "f+0x1/0x2 [zfs]", None, true),
        ] {
            let frame = one(line);
            assert_eq!((part(line, frame.text), frame.address, frame.reliable), (text, address.map(Avma), reliable), "{line}");
            assert_eq!((part(line, frame.symbol), part(line, frame.module)), ("f", "zfs"), "{line}");
            assert_eq!((frame.offset, frame.size), (Some(1), Some(2)), "{line}");
        }
    }

    #[test]
    fn located_frames_and_build_ids_keep_their_parts() {
        let line = " f.isra.0+0x1/0x2 [zfs 73d1a0aa32f04f8eb1fc36a30a9cdfa4bb6c6a11] module/zfs/spa.c:9241";
        let frame = one(line);
        assert_eq!((part(line, frame.module), part(line, frame.location)), ("zfs", "module/zfs/spa.c:9241"));
        assert_eq!(frame.build_id.end - frame.build_id.start, 40);
        let line = " __dump_stack lib/dump_stack.c:77 [inline]";
        assert_eq!((part(line, one(line).symbol), one(line).role), ("__dump_stack", Role::Inline));
        let line = " zfs_write (/src/zfs_vnops.c:582 (discriminator 3)) zfs";
        assert_eq!((part(line, one(line).location), part(line, one(line).module)), ("/src/zfs_vnops.c:582", "zfs"));
        assert_eq!(one(" 0xffffffffa0000000").address, Some(Avma(0xffff_ffff_a000_0000)));
    }

    #[test]
    fn arm_lines_hold_two_frames() {
        for line in [
            "[<80de0078>] (f) from [<80de0574>] (g+0x28/0x2c)",
            "[<80de0078>] (f+0x0/0x10) from [<80de0574>] (g+0x28/0x2c)",
            " f from g+0x28/0x2c",
            " f [zfs] from g+0x28/0x2c",
        ] {
            let Some(Trace::Pair(f, g)) = trace(&record(line)) else { panic!("{line}") };
            assert_eq!((part(line, f.symbol), part(line, g.symbol), g.offset), ("f", "g", Some(0x28)), "{line}");
        }
        assert!(matches!(trace(&record("Function entered at [<80de0078>] from [<80de0574>]")), Some(Trace::Pair(..))));
    }

    #[test]
    fn lines_that_only_mention_a_symbol_are_no_frames() {
        for line in [
            "caller is f+0x1/0x2",
            " #0: ffff8881 (rcu_read_lock){....}-{1:2}, at: f+0x1/0x2",
            "WARNING: CPU: 0 PID: 1 at fs/x.c:1 f+0x1/0x2",
            "f+0x1/0x2() (Not tainted)",
            "f() at f+0x24",
            "INFO: Freed in f+0x1/0x2 age=5 cpu=0 pid=1",
            "0000000000000000 f7cef474b7404a57",
            "",
        ] {
            assert!(trace(&record(line)).is_none(), "{line}");
        }
    }
}

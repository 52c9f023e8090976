//! The lines that illumos and mdb print for frames.
//!
//! ```text
//! fffffe000f4a3a10 zfs:zio_done+4a8 (fffffe0c3e8c8ba0)          panic and console: frame pointer, offset without 0x
//! 000002a10050b840 zfs:zio_done+518 (fffe, 0, 1830f88, 1830f88,    SPARC: broken in two on its way
//!     30002fb8040, 300000acfc8)
//! fffffe000f4a3b40 fffffffff7a4d2f1 ()                          no symbol: frame pointer, address
//! fffffe000f4a3960 zfs`zio_wait+0x6b(fffffe0c3e8c8ba0)          mdb $C, ::findstack -v
//! [ fffffe000f4a3890 _resume_from_idle+0x12b() ]                mdb ::findstack, where the thread was switched out
//!     swtch+0x141()                                             mdb $c, ::threadlist -v
//!                  zfs`txg_thread_wait+0xb7                     mdb ::stacks
//! ```
//! Sources: `traceback` in usr/src/uts/i86pc/os/archdep.c, cmd/mdb/common/modules/genunix/findstack.c, thread.c and
//! cmd/mdb/intel/mdb/mdb_amd64util.c (illumos-gate). Offsets are hexadecimal everywhere. A name has `module:` or ``module` `` in front, or
//! no module where mdb holds it for plain.

use super::debugger_parts;
use super::lex::{self, Line};
use super::linux_symbol::{Cursor, inlined};
use crate::model::addr::Avma;
use crate::model::stack::RawFrame;

/// In which of its forms a frame was printed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// By the kernel itself.
    Console,
    /// By mdb with arguments, and the frame pointer.
    Pointer,
    /// By mdb with arguments alone.
    Call,
    /// By `::stacks` or DTrace: a name and an offset.
    Plain,
}

/// Where the message of a line begins: behind the stamp of syslog, or the name of who printed it.
///
/// `Nov 21 10:00:00 host genunix: [ID 655072 kern.notice] fffffe000f4a3a10 zfs:zio_done+4a8 ()`.
pub(super) fn message(line: &[u8]) -> usize {
    if let Some(id) = memchr::memmem::find(line, b"[ID ")
        && let Some(end) = memchr::memmem::find(&line[id..], b"] ")
    {
        return id + end + 2;
    }
    for speaker in [&b"genunix: "[..], b"unix: "] {
        if let Some(at) = memchr::memmem::find(line, speaker)
            && (at == 0 || line[at - 1] == b' ')
        {
            return at + speaker.len();
        }
    }
    0
}

/// Whether the arguments of a frame may go on in the next line: SPARC's kernel prints six of them, and what shows or sends its lines
/// breaks them behind a comma. Such a frame is read from both lines as one.
pub(super) fn is_cut(line: &[u8]) -> bool {
    line.trim_ascii_end().ends_with(b",") && memchr::memchr(b'(', line).is_some()
}

/// A frame in any form.
pub(super) fn frame(line: &Line<'_>) -> Option<(Form, RawFrame)> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: message(line.bytes) };
    cursor.blanks();
    let bracket = cursor.eat(b"[ ");
    let pointer = pointer(cursor);
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some((Form::Plain, inline));
    }
    let start = cursor.at;
    let (form, mut frame) = match named(cursor) {
        Some((b':', frame)) if pointer => (Form::Console, frame),
        Some((b':', _)) => return None,
        Some((_, frame)) => (if pointer { Form::Pointer } else { Form::Call }, frame),
        None if pointer => (Form::Console, bare(cursor)?),
        None => return None,
    };
    let form = match arguments(cursor, form == Form::Console) {
        true => form,
        false if !pointer && frame.offset.is_some() => Form::Plain,
        false => return None,
    };
    frame.text = cursor.span(start, cursor.at);
    debugger_parts::found_before(cursor, &mut frame);
    let rest = cursor.rest().trim_ascii();
    (rest == if bracket { &b"]"[..] } else { b"" }).then_some((form, frame))
}

/// The frame pointer, if there is one: 8 or 16 digits and a blank.
fn pointer(cursor: &mut Cursor<'_, '_>) -> bool {
    let before = cursor.at;
    let word = debugger_parts::word(cursor);
    let found = matches!(word.len(), 8 | 16) && lex::bare_hex(word).is_some() && cursor.peek() == Some(b' ');
    if found {
        cursor.blanks();
    } else {
        cursor.at = before;
    }
    found
}

/// `zfs:zio_done+4a8`, ``zfs`zio_wait+0x6b``, `swtch+0x141`, `vpanic`; and what stands between module and name, a blank without one.
fn named(cursor: &mut Cursor<'_, '_>) -> Option<(u8, RawFrame)> {
    let (start, rest) = (cursor.at, cursor.rest());
    let first = word_len(rest);
    let separator = rest.get(first).copied().filter(|b| matches!(b, b':' | b'`')).unwrap_or(b' ');
    let name = if separator == b' ' { 0 } else { first + 1 };
    let len = word_len(&rest[name..]);
    if first == 0 || len == 0 || rest[name].is_ascii_digit() {
        return None;
    }
    // An address without a name.
    if separator == b' ' && matches!(len, 8 | 16) && lex::bare_hex(&rest[..len]).is_some() {
        return None;
    }
    cursor.at = start + name + len;
    let mut frame = cursor.frame(start, cursor.at);
    frame.symbol = cursor.span(start + name, cursor.at);
    if separator != b' ' {
        frame.module = cursor.span(start, start + first);
    }
    if cursor.eat(b"+") {
        cursor.eat(b"0x");
        let digits = cursor.rest().iter().take(17).take_while(|b| b.is_ascii_hexdigit()).count();
        frame.offset = Some(lex::bare_hex(&cursor.rest()[..digits])?);
        cursor.at += digits;
    } else {
        frame.offset = Some(0);
    }
    Some((separator, frame))
}

fn word_len(rest: &[u8]) -> usize {
    rest.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'$' | b'-')).count()
}

/// The address that no symbol covers.
fn bare(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let address: Avma = debugger_parts::address(cursor)?;
    Some(RawFrame { address: Some(address), ..cursor.frame(start, cursor.at) })
}

/// Takes `(fffffe0c3e8c8ba0, 1)`; the kernel puts a blank in front.
fn arguments(cursor: &mut Cursor<'_, '_>, blank: bool) -> bool {
    let rest = cursor.rest();
    let rest = if blank { rest.strip_prefix(b" ").unwrap_or(rest) } else { rest };
    let Some(inside) = rest.strip_prefix(b"(") else { return false };
    let known = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b' ' | b'\r' | b'\n' | b',' | b'.' | b'_' | b'-' | b'+' | b'`' | b'&');
    let len = inside.iter().take_while(|b| known(b)).count();
    if inside.get(len) != Some(&b')') {
        return false;
    }
    cursor.at += cursor.rest().len() - inside.len() + len + 1;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_gives_module_name_and_offset() {
        for (line, form, module, symbol, offset, text) in [
            ("fffffe000f4a3a10 zfs:zio_done+4a8 ()", Form::Console, "zfs", "zio_done", Some(0x4a8), "zfs:zio_done+4a8 ()"),
            (
                "Nov 21 10:00:00 h genunix: [ID 655072 kern.notice] fffffe000f4a3a10 unix:trap+10 (1, 2)",
                Form::Console,
                "unix",
                "trap",
                Some(0x10),
                "unix:trap+10 (1, 2)",
            ),
            ("genunix: fffffe000f4a3a10 unix:die ()", Form::Console, "unix", "die", Some(0), "unix:die ()"),
            ("fffffe000f4a3b40 fffffffff7a4d2f1 ()", Form::Console, "", "", None, "fffffffff7a4d2f1 ()"),
            (
                "fffffe000f4a3960 zfs`zio_wait+0x6b(fffffe0c3e8c8ba0)",
                Form::Pointer,
                "zfs",
                "zio_wait",
                Some(0x6b),
                "zfs`zio_wait+0x6b(fffffe0c3e8c8ba0)",
            ),
            (
                "[ fffffe000f4a3890 _resume_from_idle+0x12b() ]",
                Form::Pointer,
                "",
                "_resume_from_idle",
                Some(0x12b),
                "_resume_from_idle+0x12b()",
            ),
            (
                "000002a10050b840 zfs:zio_done+518 (fffe, 0, 1,\n    3, 4) zio.c:5",
                Form::Console,
                "zfs",
                "zio_done",
                Some(0x518),
                "zfs:zio_done+518 (fffe, 0, 1,\n    3, 4)",
            ),
            ("    swtch+0x141()", Form::Call, "", "swtch", Some(0x141), "swtch+0x141()"),
            ("vpanic()", Form::Call, "", "vpanic", Some(0), "vpanic()"),
            ("                 zfs`txg_thread_wait+0xb7", Form::Plain, "zfs", "txg_thread_wait", Some(0xb7), "zfs`txg_thread_wait+0xb7"),
        ] {
            let line = Line { number: 1, start: 0, bytes: line.as_bytes() };
            let (found, frame) = super::frame(&line).unwrap_or_else(|| panic!("{}", lex::text(line.bytes)));
            let part = |span: crate::model::stack::Span| lex::text(span.of(line.bytes, 0));
            assert_eq!((found, part(frame.module).as_str(), part(frame.symbol).as_str(), frame.offset), (form, module, symbol, offset));
            assert_eq!(part(frame.text), text);
        }
    }

    #[test]
    fn lines_of_other_systems_are_no_frames() {
        for line in [
            "ffffffff81000000 T _text",
            "pmap_destroy() at netbsd:pmap_destroy+0x265",
            "unp_dispose() at unp_dispose+0xa5/frame 0xfffffe001fa0e650",
            "[ffff8880] f+0x1/0x2",
            " schedule+0x5a/0xd0",
            "fffffe000f4a3a10 SLEEP    CV                      2",
            "0xffffffff97252e2a in schedule () at kernel/sched/core.c:6660",
            "",
        ] {
            assert!(super::frame(&Line { number: 1, start: 0, bytes: line.as_bytes() }).is_none(), "{line}");
        }
    }
}

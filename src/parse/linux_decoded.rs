//! Frames of Linux as tools rewrote them that put places in: `decode_stacktrace.sh` of the kernel and syzkaller.

use super::linux_frame::Trace;
use super::linux_symbol::{Cursor, name_len, place_len};
use crate::model::stack::{RawFrame, Role};

/// `name lib/dump_stack.c:77 [inline]` of syzkaller, `name (fs/read_write.c:582) zfs` of decode_stacktrace.sh.
pub(super) fn decoded(cursor: &mut Cursor<'_, '_>, mut frame: RawFrame) -> Option<Trace> {
    let paren = cursor.eat(b"(");
    let len = place_len(cursor.rest())?;
    frame.location = cursor.span(cursor.at, cursor.at + len);
    cursor.at += len;
    if paren {
        return decoded_tail(cursor, frame);
    }
    match cursor.rest().trim_ascii() {
        b"[inline]" => {
            frame.role = Role::Inline;
            Some(Trace::One(frame))
        }
        b"" => Some(Trace::Filler),
        _ => None,
    }
}

/// Everything up to the `)` that ends the list of places, and the module.
fn decoded_tail(cursor: &mut Cursor<'_, '_>, mut frame: RawFrame) -> Option<Trace> {
    let close = memchr::memrchr(b')', cursor.rest())?;
    let end = cursor.at + close + 1;
    cursor.at = end;
    cursor.blanks();
    let (start, module) = (cursor.at, cursor.rest());
    if module.starts_with(b"[") {
        cursor.at = end;
        cursor.module(&mut frame);
        return Some(Trace::One(frame));
    }
    if name_len(module) != module.len() {
        return None;
    }
    frame.module = cursor.span(start, start + module.len());
    frame.text.end = cursor.record.at + if module.is_empty() { end } else { start + module.len() } as u32;
    Some(Trace::One(frame))
}

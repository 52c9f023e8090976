//! Lines of gdb: prompts, and the frames of its stacks in all their forms.

use memchr::memmem;

use super::debugger_parts;
use super::lex::{self, Line};
use super::linux_symbol::{Cursor, inlined, place_len};
use crate::model::stack::{RawFrame, Span};

/// How long the prompt is that a line begins with.
pub(super) fn prompt(line: &[u8]) -> usize {
    let prompt = [&b"(gdb)"[..], b"(kgdb)"].into_iter().find(|prompt| line.starts_with(prompt));
    prompt.map_or(0, |prompt| prompt.len() + lex::indent(&line[prompt.len()..]))
}

/// `#8  <signal handler called>`: its number.
pub(super) fn trap(line: &Line<'_>) -> Option<u32> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: prompt(line.bytes) };
    let number = debugger_parts::number(cursor)?;
    (cursor.rest().trim_ascii_end() == b"<signal handler called>").then_some(number)
}

/// `#3  0xADDR in NAME (ARGUMENTS) at FILE:LINE`, without what gdb leaves out.
pub(super) fn frame(line: &Line<'_>) -> Option<(u32, RawFrame)> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: prompt(line.bytes) };
    let number = debugger_parts::number(cursor)?;
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some((number, inline));
    }
    let start = cursor.at;
    let mut address = None;
    if cursor.rest().starts_with(b"0x") {
        address = Some(debugger_parts::address(cursor)?);
        cursor.eat(b" in ").then_some(())?;
    }
    let name = cursor.at;
    let len = memmem::find(cursor.rest(), b" (").filter(|len| *len > 0)?;
    let symbol = &cursor.rest()[..len];
    // C++ names have blanks in their template arguments; words have none.
    if symbol.contains(&b' ') && !symbol.contains(&b'<') || symbol.starts_with(b"[") || symbol.starts_with(b"at ") {
        return None;
    }
    cursor.at += len + 2;
    let mut frame = cursor.frame(start, line.bytes.trim_ascii_end().len());
    if symbol != b"??" {
        frame.symbol = cursor.span(name, name + len);
    }
    frame.address = address;
    frame.reliable = address.is_none_or(|address| address.0 != 0);
    rest(cursor, &mut frame)?;
    Some((number, frame))
}

/// What follows `(`: arguments and the place; or behind a file without lines what kstack found out before. Drgn has a place there.
fn rest(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) -> Option<()> {
    let rest = cursor.rest();
    if place_len(rest).is_some_and(|len| rest.get(len..) == Some(b")")) {
        return None;
    }
    if let Some(place) = place(rest) {
        frame.location = cursor.span(cursor.at + place.start as usize, cursor.at + place.end as usize);
        return Some(());
    }
    if let Some(close) = arguments_end(rest) {
        cursor.at += close;
        if cursor.eat(b" from ") {
            debugger_parts::word(cursor);
        }
        frame.text.end = cursor.span(cursor.at, cursor.at).start;
        debugger_parts::found_before(cursor, frame);
    }
    Some(())
}

/// One past the parenthesis that ends the arguments; `None` where they go on in the next line.
fn arguments_end(rest: &[u8]) -> Option<usize> {
    let mut depth = 1usize;
    for (at, byte) in rest.iter().enumerate() {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

/// `FILE:LINE` behind the last ` at `, if nothing follows it. Values of arguments can say ` at address 0x…`.
pub(super) fn place(text: &[u8]) -> Option<Span> {
    let text = text.trim_ascii_end();
    let start = memmem::rfind(text, b" at ")? + 4;
    let len = place_len(&text[start..])?;
    (start + len == text.len()).then_some(Span { start: start as u32, end: text.len() as u32 })
}

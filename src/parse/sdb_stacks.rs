//! Stacks as sdb's `stacks` prints them, grouped by sdb itself.
//!
//! ```text
//! TASK_STRUCT        STATE             COUNT
//! ==========================================
//! 0xffff9c4e8239a100 UNINTERRUPTIBLE      40
//!                   __schedule+0x34d
//!                   waiter_thread+0x11
//!                   kthread+0xda
//! ```
//! `stacks -a` lists all tasks that have a stack, one below the other, and leaves `COUNT` away.
//! Source: sdb/commands/linux/stacks.py (delphix/sdb). A frame without a symbol is `0xADDR+0x0`. The count stands for all tasks of the state that have the stack; the
//! pointer is that of one of them. Functions inlined into another print the other's name once more, and nothing marks them.

use super::debugger_parts::{self, Collector};
use super::lex::{self, Line};
use super::linux_symbol::{Cursor, bare_value, inlined, name_len, number};
use super::{Confidence, Format, Holds};
use crate::model::addr::Avma;
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{RawFrame, Stack};

/// The format.
pub struct SdbStacks;

impl Format for SdbStacks {
    fn id(&self) -> &'static str {
        "sdb-stacks"
    }
    fn about(&self) -> &'static str {
        "sdb's stacks: grouped, counts are kept"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"TASK_STRUCT"]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest).next().is_some_and(|line| is_heading(line.bytes))
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let heading = lex::lines(head).any(|line| is_heading(line.bytes));
        if heading { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut stacks = Collector::default();
        let (mut arch, mut row) = (None, 0);
        for line in lex::lines(text) {
            if let Some(stack) = group(&line) {
                match stacks.heading().filter(|_| stack.count == 0 && row + 1 == line.number) {
                    Some(above) => above.count += 1,
                    None => stacks.open(Stack { count: stack.count.max(1), ..stack }),
                }
                row = line.number;
            } else if let Some(frame) = frame(&line).filter(|frame| goes_on(&mut stacks, row, frame)) {
                arch = arch.or_else(|| debugger_parts::arch(&frame, text));
                stacks.push(frame);
            } else {
                stacks.close();
            }
        }
        let (os, basis) = (Some(Os::Linux), Some(Basis::Runtime));
        Capture { format: self.id(), os, arch, basis, stacks: stacks.finish(), ..Capture::default() }
    }
}

/// Whether a frame follows a group's line, `row`, or another frame.
fn goes_on(stacks: &mut Collector, row: u32, frame: &RawFrame) -> bool {
    let below = |line: u32| line + 1 == frame.line;
    let heading = stacks.heading().is_some() && below(row);
    heading || stacks.frames().last().is_some_and(|last| below(last.line))
}

fn is_heading(line: &[u8]) -> bool {
    let words = [&b"TASK_STRUCT"[..], b"STATE", b"COUNT"];
    lex::words(line).eq(words) || lex::words(line).eq(words[..2].iter().copied())
}

/// `0xffff9c4e8239a100 UNINTERRUPTIBLE      40`; the count is 0 where none is printed.
fn group(line: &Line<'_>) -> Option<Stack> {
    let words: Vec<&[u8]> = lex::words(line.bytes).take(4).collect();
    let (task, state, count) = match &words[..] {
        [task, state, count] => (task, state, lex::decimal(count).filter(|count| *count > 0)?),
        [task, state] => (task, state, 0),
        _ => return None,
    };
    lex::hex(task).filter(|_| line.bytes.starts_with(b"0x"))?;
    state.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'|' | b'-')).then_some(())?;
    Some(Stack { tid: Some(lex::text(task)), state: Some(lex::text(state)), count, line: line.number, ..Stack::default() })
}

/// `name+0xH` or `0xH` alone on an indented line, and behind it what kstack found out before.
fn frame(line: &Line<'_>) -> Option<RawFrame> {
    let record = debugger_parts::record(line);
    let start = lex::indent(line.bytes);
    let cursor = &mut Cursor { record: &record, at: start };
    if start == 0 {
        return None;
    }
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some(inline);
    }
    let mut frame = match bare_value(cursor) {
        Some(frame) => frame,
        None => {
            let len = name_len(cursor.rest());
            let (offset, end) = number(cursor.rest(), len, b"+0x").filter(|_| len > 0)?;
            cursor.at += end;
            let frame = cursor.frame(start, cursor.at);
            // Where sdb knows no symbol, the address is the name.
            match lex::hex(&line.bytes[start..start + len]) {
                Some(value) => RawFrame { address: Some(Avma(value.wrapping_add(offset))), ..frame },
                None => RawFrame { symbol: cursor.span(start, start + len), offset: Some(offset), ..frame },
            }
        }
    };
    debugger_parts::found_before(cursor, &mut frame);
    cursor.rest().trim_ascii().is_empty().then_some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_states_are_those_of_sdb() {
        let text = b"TASK_STRUCT        STATE             COUNT\n==========================================\n\
            0xffff9c4e8239a100 UNINTERRUPTIBLE      40\n                  schedule+0x5a\n                  0xffffffffc0123456\n\n\
            0xffff9c4e8239a200 IDLE                  1\n                  kthread+0xda\nsdb> stacks\n                  f+0x1\n";
        assert_eq!(SdbStacks.sniff(text), Confidence::Certain);
        let capture = SdbStacks.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|s| (s.count, s.state.as_deref().unwrap(), s.frames.len(), s.line)).collect();
        assert_eq!(seen, [(40, "UNINTERRUPTIBLE", 2, 3), (1, "IDLE", 1, 7)]);
        assert_eq!(capture.stacks[0].frames[0].offset, Some(0x5a));
    }

    #[test]
    fn all_tasks_of_a_stack_are_counted_and_addresses_are_no_names() {
        let text = b"TASK_STRUCT        STATE           \n==================================\n\
            0xffff9c4e8239a100 INTERRUPTIBLE   \n0xffff9c4e8239a200 INTERRUPTIBLE   \n                  schedule+0x5a\n\
            \x20                 0xffffffffc090f556+0x2\n\n0xffff9c4e8239a300 IDLE   \n                  kthread+0xda\n";
        assert_eq!(SdbStacks.sniff(text), Confidence::Certain);
        let capture = SdbStacks.parse(text);
        let seen: Vec<_> = capture.stacks.iter().map(|s| (s.count, s.state.as_deref().unwrap(), s.frames.len(), s.line)).collect();
        assert_eq!(seen, [(2, "INTERRUPTIBLE", 2, 3), (1, "IDLE", 1, 8)]);
        let raw = &capture.stacks[0].frames[1];
        assert_eq!((raw.address, raw.symbol.is_empty(), raw.offset), (Some(Avma(0xffff_ffff_c090_f558)), true, None));
    }
}

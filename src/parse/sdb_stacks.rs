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
//! Source: sdb/commands/linux/stacks.py (delphix/sdb). The count stands for all tasks of the state that have the stack; the
//! pointer is that of one of them. Functions inlined into another print the other's name once more, and nothing marks them.

use super::debugger_parts::{self, Collector};
use super::lex::{self, Line};
use super::linux_symbol::{Cursor, bare_value, inlined, name_len, number};
use super::{Confidence, Format, Holds};
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
        let mut arch = None;
        for line in lex::lines(text) {
            if let Some(stack) = group(&line) {
                stacks.open(stack);
            } else if let Some(frame) = frame(&line).filter(|frame| goes_on(&mut stacks, frame)) {
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

/// Whether a frame follows a group's line or another frame.
fn goes_on(stacks: &mut Collector, frame: &RawFrame) -> bool {
    let below = |line: u32| line + 1 == frame.line;
    let heading = stacks.heading().is_some_and(|stack| below(stack.line));
    heading || stacks.frames().last().is_some_and(|last| below(last.line))
}

fn is_heading(line: &[u8]) -> bool {
    lex::words(line).eq([&b"TASK_STRUCT"[..], b"STATE", b"COUNT"])
}

/// `0xffff9c4e8239a100 UNINTERRUPTIBLE      40`.
fn group(line: &Line<'_>) -> Option<Stack> {
    let words: Vec<&[u8]> = lex::words(line.bytes).take(4).collect();
    let [task, state, count] = &words[..] else { return None };
    lex::hex(task).filter(|_| line.bytes.starts_with(b"0x"))?;
    state.iter().all(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b'|' | b'-')).then_some(())?;
    Some(Stack {
        tid: Some(lex::text(task)),
        state: Some(lex::text(state)),
        count: lex::decimal(count).filter(|count| *count > 0)?,
        line: line.number,
        ..Stack::default()
    })
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
            RawFrame { symbol: cursor.span(start, start + len), offset: Some(offset), ..frame }
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
}

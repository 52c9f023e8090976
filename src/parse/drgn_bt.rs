//! Stacks as drgn prints them: `prog.stack_trace(PID)`, `print(trace)`, one under the other.
//!
//! ```text
//! >>> prog.stack_trace(133)
//! #0  context_switch (./kernel/sched/core.c:5328:2)
//! #1  __schedule (./kernel/sched/core.c:6604:8)
//! #2  take_both+0x24/0x40                                       without debug info: what `%pS` prints, and no module
//! #3  entry_SYSCALL_64+0x7c/0x15b (./arch/x86/entry/entry_64.S:113)
//! #4  0xffffffffc047a2c4
//! #0 at 0xffffffff9725271d (__schedule+0x34d/0xa00) in context_switch at kernel/sched/core.c:5257:2 (inlined)
//! ```
//! Sources: drgn's stack trace formatting (libdrgn/stack_trace.c; docs/user_guide.rst), 0.0.8 to 0.0.30. A frame of the long
//! form that is inlined shares its address with the next one that is not; the short form does not tell inlined frames.

use memchr::memmem;

use super::debugger_parts::{self, Collector};
use super::lex::{self, Line};
use super::linux_proc_stack;
use super::linux_symbol::{Cursor, bare_value, inlined, located, name_len, place_len};
use super::{Confidence, Format, Holds};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::stack::{Lookup, RawFrame, Role, Stack};

/// The format.
pub struct DrgnBt;

impl Format for DrgnBt {
    fn id(&self) -> &'static str {
        "drgn-bt"
    }
    fn about(&self) -> &'static str {
        "drgn's stack traces, short and long"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"stack_trace(", b"#0  "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let called = |line: Line<'_>| memmem::find(line.bytes, b"stack_trace(").is_some() && self.sniff(rest) == Confidence::Certain;
        lex::lines(rest).next().is_some_and(|line| is_frame(&line) || called(line))
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let frames =
            lex::lines(head).filter_map(|line| frame(&line)).filter(|(_, frame)| frame.role != Role::Inline || !frame.module.is_empty());
        let (located, named) = frames.fold((0, 0), |(located, named), (_, frame)| {
            (located + usize::from(!frame.location.is_empty()), named + usize::from(frame.offset.is_some()))
        });
        match (located, named, memmem::find(head, b"stack_trace(").is_some()) {
            (2.., ..) | (1.., _, true) | (_, 1.., true) => Confidence::Certain,
            (1.., ..) | (_, 2.., _) => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, stacks: Collector::default(), number: 0, arch: None };
        lex::lines(text).for_each(|line| reader.line(&line));
        debugger_parts::capture(self.id(), Some(Os::Linux), reader.arch, reader.stacks)
    }
}

struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// Of the latest frame.
    number: u32,
    arch: Option<Arch>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        match frame(line) {
            Some((number, frame)) => self.frame(number, frame),
            None if line.bytes.trim_ascii().is_empty() => self.stacks.close(),
            None => match heading(line) {
                Some(stack) => self.stacks.open(stack),
                // A prompt or something else that was printed.
                None => self.stacks.close(),
            },
        }
    }

    fn frame(&mut self, number: u32, mut frame: RawFrame) {
        let own = frame.role == Role::Inline && number == self.number;
        if !self.stacks.frames().is_empty() && number <= self.number && !own {
            self.stacks.close();
        }
        self.number = number;
        if self.is_exact() {
            frame.lookup = Lookup::Exact;
        }
        self.arch = self.arch.or_else(|| debugger_parts::arch(&frame, self.text));
        self.stacks.push(frame);
    }

    /// Whether the next frame's address is where execution was: that of the first frame, and of what an interrupt came into.
    fn is_exact(&mut self) -> bool {
        let text = self.text;
        let above = self.stacks.frames().iter().rev().find(|frame| frame.role != Role::Inline);
        above.is_none_or(|frame| debugger_parts::interrupts(frame.symbol.of(text, frame.line_start)))
    }
}

/// `>>> prog.stack_trace(133)`, and every heading that stands above copies of `/proc/PID/stack`.
fn heading(line: &Line<'_>) -> Option<Stack> {
    const CALL: &[u8] = b"stack_trace(";
    let mut stack = Stack { line: line.number, count: 1, ..Stack::default() };
    if let Some(at) = memmem::find(line.bytes, CALL) {
        let argument = &line.bytes[at + CALL.len()..];
        let digits = argument.iter().take_while(|b| b.is_ascii_digit()).count();
        stack.pid = lex::decimal(&argument[..digits]).and_then(|pid| i64::try_from(pid).ok());
        return Some(stack);
    }
    (stack.pid, stack.process) = linux_proc_stack::task(line.bytes)?;
    Some(stack)
}

/// Whether a line is a frame that no other debugger writes in this way.
pub(super) fn is_frame(line: &Line<'_>) -> bool {
    frame(line).is_some_and(|(_, frame)| !frame.location.is_empty() || frame.size.is_some())
}

/// A frame of either form with its number.
fn frame(line: &Line<'_>) -> Option<(u32, RawFrame)> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: lex::indent(line.bytes) };
    let number = debugger_parts::number(cursor)?;
    let inline = inlined(&mut Cursor { ..*cursor });
    let frame = inline.or_else(|| if cursor.eat(b"at 0x") { long(cursor) } else { short(cursor) })?;
    Some((number, frame))
}

/// `name (FILE:LINE:COLUMN)`, `SYM (FILE:LINE)`, `SYM`, `0xADDR`.
fn short(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let mut frame = match cursor.symbol().or_else(|| bare_value(cursor)) {
        Some(frame) => frame,
        // drgn knows nothing of it, and neither does anybody else.
        None if cursor.rest().trim_ascii() == b"???" => return Some(RawFrame { reliable: false, ..cursor.frame(start, start + 3) }),
        None => {
            let len = name_len(cursor.rest());
            cursor.at += len;
            if len == 0 || !cursor.rest().starts_with(b" (") {
                return None;
            }
            RawFrame { symbol: cursor.span(start, cursor.at), ..cursor.frame(start, cursor.at) }
        }
    };
    if cursor.eat(b" (") {
        place(cursor, &mut frame)?;
        cursor.eat(b")").then_some(())?;
        frame.text = cursor.span(start, cursor.at);
    } else {
        debugger_parts::found_before(cursor, &mut frame);
    }
    let known = frame.offset.is_some() || frame.address.is_some() || !frame.location.is_empty();
    (known && cursor.rest().trim_ascii().is_empty()).then_some(frame)
}

/// What follows `at 0x`: `ADDR (SYM) in NAME at FILE:LINE:COLUMN (inlined)`.
fn long(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    cursor.at -= 2;
    // From `at` on, so that lines below a rewritten frame begin as it does.
    let start = cursor.at - 3;
    let address = debugger_parts::address(cursor)?;
    let mut frame = cursor.frame(start, cursor.at);
    if cursor.eat(b" (") {
        if let Some(symbol) = cursor.symbol() {
            (frame.symbol, frame.offset) = (symbol.symbol, symbol.offset);
        } else {
            debugger_parts::address(cursor)?;
        }
        cursor.eat(b")").then_some(())?;
    }
    // Symbols of modules look like those of the kernel here: the address tells them apart, name and size do not.
    (frame.address, frame.size) = (Some(address), None);
    if cursor.eat(b" in ") {
        function(cursor, &mut frame);
    }
    frame.text = cursor.span(start, cursor.at);
    located(cursor, &mut frame);
    cursor.rest().trim_ascii().is_empty().then_some(frame)
}

/// `NAME at FILE:LINE:COLUMN (inlined)`. An inlined function is none of the frame that its address belongs to.
fn function(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) {
    let start = cursor.at;
    cursor.at += name_len(cursor.rest());
    let name = cursor.span(start, cursor.at);
    if cursor.eat(b" at ") && place(cursor, frame).is_some() && cursor.eat(b" (inlined)") {
        (frame.role, frame.address, frame.offset) = (Role::Inline, None, None);
        frame.symbol = name;
    }
    if frame.symbol.is_empty() {
        frame.symbol = name;
    }
}

/// `FILE:LINE` of `FILE:LINE:COLUMN`.
fn place(cursor: &mut Cursor<'_, '_>, frame: &mut RawFrame) -> Option<()> {
    let len = place_len(cursor.rest())?;
    let place = &cursor.rest()[..len];
    let column = memchr::memrchr(b':', place).filter(|at| memchr::memchr(b':', place).is_some_and(|first| first < *at));
    frame.location = cursor.span(cursor.at, cursor.at + column.unwrap_or(len));
    cursor.at += len;
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::Span;

    const TEXT: &str = "\
>>> prog.stack_trace(133)
#0  context_switch (./kernel/sched/core.c:5328:2)
#1  __schedule+0x34d/0xa00
#2  asm_sysvec_apic_timer_interrupt+0x16/0x20 (./arch/x86/include/asm/idtentry.h:649)
#3  0xffffffffc047a2c4
>>> print(prog.stack_trace(134))
#0 at 0xffffffff9725271d (__schedule+0x34d/0xa00) in context_switch at kernel/sched/core.c:5257:2 (inlined)
#1 at 0xffffffff9725271d (__schedule+0x34d/0xa00) in __schedule at kernel/sched/core.c:6584:8
#2 at 0xffffffffc047a2c4 (take_both+0x24/0x40)
";

    #[test]
    fn both_forms_are_read() {
        let text = TEXT.as_bytes();
        assert_eq!(DrgnBt.sniff(text), Confidence::Certain);
        let capture = DrgnBt.parse(text);
        let part = |span: Span, frame: &RawFrame| String::from_utf8_lossy(span.of(text, frame.line_start)).into_owned();
        let seen = |n: usize| -> Vec<_> {
            let row = |f: &RawFrame| (part(f.symbol, f), f.offset, part(f.location, f), f.lookup == Lookup::Exact, f.role == Role::Inline);
            capture.stacks[n].frames.iter().map(row).collect()
        };
        let row = |symbol: &str, offset, place: &str, exact, inline| (symbol.to_string(), offset, place.to_string(), exact, inline);
        assert_eq!(
            seen(0),
            [
                row("context_switch", None, "./kernel/sched/core.c:5328", true, false),
                row("__schedule", Some(0x34d), "", false, false),
                row("asm_sysvec_apic_timer_interrupt", Some(0x16), "./arch/x86/include/asm/idtentry.h:649", false, false),
                row("", None, "", true, false),
            ]
        );
        assert_eq!(
            seen(1),
            [
                row("context_switch", None, "kernel/sched/core.c:5257", true, true),
                row("__schedule", Some(0x34d), "kernel/sched/core.c:6584", true, false),
                row("take_both", Some(0x24), "", false, false),
            ]
        );
        assert_eq!((capture.stacks[0].pid, capture.stacks[1].pid), (Some(133), Some(134)));
    }

    #[test]
    fn other_numbered_frames_are_not_claimed() {
        for text in [
            "#0  0xffffffff9725271d in __schedule () at kernel/sched/core.c:5257\n#1  f (a=1) at x.c:2\n",
            " #0 [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d\n",
            "#0 0xffffffff80c1b2c4 at kdb_backtrace+0x67\n#1 0xffffffff80bce1f2 at vpanic+0x17f\n",
            "  #0 ffffffff810dd2a6 (asan_report_error+0x306/0x410)\n",
            " #0: ffff8881 (&p->lock){+.+.}-{3:3}, at: f+0x1/0x2\n",
            "#0  witness_checkorder+0x65e\n#1  rw_enter+0x1\n",
        ] {
            assert_eq!(DrgnBt.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }
}

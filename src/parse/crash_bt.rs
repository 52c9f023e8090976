//! Stacks as the crash utility prints them: `bt`, `bt -a`, `bt -l`, `bt -s`, `foreach bt`.
//!
//! ```text
//! PID: 133      TASK: ffff9c4e8239a100  CPU: 1    COMMAND: "kslab_abba/0"
//!  #0 [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d
//!     /usr/src/kernel/sched/core.c: 5257                              bt -l: source of the frame above
//!  #1 [ffffb5e0c0d1fe18] schedule+90 at ffffffff97252e2a              bt -s: decimal offset, hexadecimal after `set hex`
//!  #2 [ffffb5e0c0d1fed0] take_both at ffffffffc047a2c4 [kslab]
//!     [exception RIP: kslab_write+165]                                registers of what an exception interrupted
//!     RIP: ffffffffc047ade5  RSP: ffffb5e0c0d1fea8  RFLAGS: 00010246
//! --- <NMI exception stack> ---
//! ```
//! Sources: `print_stack_entry` and `eframe_display` of crash (x86_64.c, arm64.c, task.c; version 8). The number in brackets is where the
//! frame lies on the stack. Addresses behind `at` are return addresses; that of an exception is the very instruction.

use memchr::memmem;

use super::debugger_parts::{self, Collector};
use super::lex::{self, Line};
use super::linux_prefix::Record;
use super::linux_symbol::{Cursor, inlined, located, name_len, number};
use super::{Confidence, Format, Holds};
use crate::model::addr::{Arch, Avma};
use crate::model::capture::{Capture, Os};
use crate::model::image::Basis;
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack};

/// The format.
pub struct CrashBt;

impl Format for CrashBt {
    fn id(&self) -> &'static str {
        "crash-bt"
    }
    fn about(&self) -> &'static str {
        "crash's bt, bt -a, foreach bt, also with -l and -s"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"TASK: ", b"COMMAND: "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        lex::lines(rest).next().is_some_and(|line| heading(&line).is_some())
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut headings, mut frames) = (0, 0);
        for line in lex::lines(head) {
            headings += usize::from(heading(&line).is_some());
            frames += usize::from(frame(&line).is_some_and(|(_, frame)| frame.role != Role::Inline));
        }
        match (headings, frames) {
            // A kernel log that quotes crash, or crash's own `log`.
            (_, 1..) if memmem::find(head, b"Call Trace:").is_some() => Confidence::Likely,
            (1.., 1..) => Confidence::Certain,
            (_, 2..) => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, stacks: Collector::default(), number: 0, registers: false, arch: None };
        lex::lines(text).for_each(|line| reader.line(&line));
        Capture {
            format: self.id(),
            os: Some(Os::Linux),
            arch: reader.arch,
            basis: Some(Basis::Runtime),
            stacks: reader.stacks.finish(),
            ..Capture::default()
        }
    }
}

struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// Of the latest frame.
    number: u32,
    /// Whether the registers of an exception are due, whose symbol was printed.
    registers: bool,
    arch: Option<Arch>,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        if let Some(stack) = heading(line) {
            self.stacks.open(stack);
        } else if let Some((number, frame)) = frame(line) {
            self.frame(number, frame);
        } else if let Some(frame) = exception(line) {
            self.registers = frame.address.is_none();
            self.push(frame);
        } else if let Some(at) = instruction_pointer(line.bytes).filter(|_| self.registers) {
            self.registers = false;
            if let Some(frame) = self.stacks.frames().last_mut() {
                frame.address = Some(at);
                self.arch = self.arch.or(Some(Arch::X86_64));
            }
        } else if line.bytes.starts_with(b"crash>") {
            self.stacks.close();
        } else {
            self.place(line);
        }
    }

    fn frame(&mut self, number: u32, frame: RawFrame) {
        let again = frame.role == Role::Inline && number == self.number;
        if !self.stacks.frames().is_empty() && number <= self.number && !again {
            self.stacks.close();
        }
        self.number = number;
        self.registers = false;
        self.push(frame);
    }

    fn push(&mut self, frame: RawFrame) {
        self.arch = self.arch.or_else(|| debugger_parts::arch(&frame, self.text));
        self.stacks.push(frame);
    }

    /// `    FILE: LINE` directly below a frame.
    fn place(&mut self, line: &Line<'_>) {
        let Some(place) = place(line.bytes) else { return };
        let Some(frame) = self.stacks.frames().last_mut() else { return };
        let from = line.start.saturating_sub(frame.line_start);
        if frame.line + 1 == line.number && frame.location.is_empty() && from < u64::from(u32::MAX / 2) {
            frame.location = Span { start: from as u32 + place.start, end: from as u32 + place.end };
        }
    }
}

/// `PID: 133      TASK: ffff9c4e8239a100  CPU: 1    COMMAND: "kslab_abba/0"`.
fn heading(line: &Line<'_>) -> Option<Stack> {
    let rest = line.bytes.trim_ascii_start().strip_prefix(b"PID:")?;
    let field = |name: &[u8]| memmem::find(rest, name).map(|at| rest[at + name.len()..].trim_ascii_start());
    let first = |rest: &[u8]| lex::words(rest).next().and_then(lex::decimal);
    lex::words(field(b"TASK:")?).next().and_then(lex::bare_hex)?;
    let command = field(b"COMMAND:")?.strip_prefix(b"\"")?;
    let end = memchr::memrchr(b'"', command).unwrap_or(command.len());
    Some(Stack {
        pid: Some(i64::try_from(first(rest)?).ok()?),
        cpu: field(b"CPU:").and_then(first).and_then(|cpu| u32::try_from(cpu).ok()),
        process: Some(lex::text(&command[..end])),
        line: line.number,
        count: 1,
        ..Stack::default()
    })
}

/// ` #2 [ffffb5e0c0d1fed0] take_both+36 (via f) at ffffffffc047a2c4 [kslab]`: its number and the frame.
fn frame(line: &Line<'_>) -> Option<(u32, RawFrame)> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: lex::indent(line.bytes) };
    let number = debugger_parts::number(cursor)?;
    if !cursor.eat(b"[") {
        return None;
    }
    debugger_parts::address(cursor)?;
    if !cursor.eat(b"]") {
        return None;
    }
    cursor.blanks();
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some((number, inline));
    }
    let start = cursor.at;
    let mut frame = named(cursor)?;
    let at = memmem::find(cursor.rest(), b" at ")
        .filter(|at| matches!(&cursor.rest()[..*at], via if via.is_empty() || via.starts_with(b" (via ")))?;
    cursor.at += at + 4;
    frame.address = Some(debugger_parts::address(cursor)?);
    frame.text = cursor.span(start, cursor.at);
    cursor.module(&mut frame);
    debugger_parts::found_before(cursor, &mut frame);
    Some((number, frame))
}

/// `take_both`, `take_both+36`, `take_both+0x24`; `(null)` and the like are no names.
fn named(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let rest = cursor.rest();
    let len = name_len(rest);
    if len == 0 {
        let word = debugger_parts::word(cursor);
        return (word.starts_with(b"(") && word.ends_with(b")")).then(|| cursor.frame(start, cursor.at));
    }
    let digits = rest[len..].strip_prefix(b"+").map_or(0, |rest| rest.iter().take(20).take_while(|b| b.is_ascii_digit()).count());
    let (offset, end) = match number(rest, len, b"+0x") {
        Some((offset, end)) => (Some(offset), end),
        None if digits > 0 => (lex::decimal(&rest[len + 1..len + 1 + digits]), len + 1 + digits),
        None => (None, len),
    };
    cursor.at = start + end;
    let mut frame = cursor.frame(start, cursor.at);
    (frame.symbol, frame.offset) = (cursor.span(start, start + len), offset);
    Some(frame)
}

/// `    [exception RIP: kslab_write+165]`; on arm64 `     PC: ffff800008012345  [kslab_write+165]`.
fn exception(line: &Line<'_>) -> Option<RawFrame> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: lex::indent(line.bytes) };
    let mut address = None;
    if cursor.eat(b"PC: ") {
        address = Some(debugger_parts::address(cursor)?);
        cursor.blanks();
        if !cursor.eat(b"[") {
            return None;
        }
    } else if !cursor.eat(b"[exception RIP: ") {
        return None;
    }
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some(inline);
    }
    // A place that an earlier run added stands inside the bracket.
    let inside = Record { text: line.bytes.trim_ascii_end().strip_suffix(b"]")?, ..record };
    let cursor = &mut Cursor { record: &inside, at: cursor.at };
    let mut frame = named(cursor).filter(|frame| frame.offset.is_some())?;
    cursor.module(&mut frame);
    located(cursor, &mut frame);
    (frame.address, frame.role, frame.lookup) = (address, Role::Regs, Lookup::Exact);
    cursor.rest().is_empty().then_some(frame)
}

/// `    RIP: ffffffffc047ade5  RSP: …`.
fn instruction_pointer(line: &[u8]) -> Option<Avma> {
    let value = line.trim_ascii_start().strip_prefix(b"RIP: ")?;
    lex::words(value).next().and_then(lex::bare_hex).map(Avma)
}

/// `    /usr/src/kernel/sched/core.c: 5257`, without the blanks in front.
fn place(line: &[u8]) -> Option<Span> {
    let start = lex::indent(line);
    let colon = memmem::rfind(line, b": ")?;
    lex::decimal(&line[colon + 2..])?;
    let path = line.get(start..colon)?;
    let is_path = start >= 4 && path.iter().any(|b| matches!(b, b'/' | b'.')) && !path.contains(&b' ');
    is_path.then_some(Span { start: start as u32, end: line.len() as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
PID: 133      TASK: ffff9c4e8239a100  CPU: 1    COMMAND: \"kslab \"a\" b\"
 #0 [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d
    /usr/src/kernel/sched/core.c: 5257
 #1 [ffffb5e0c0d1fe18] schedule+90 at ffffffff97252e2a
--- <NMI exception stack> ---
 #2 [ffffb5e0c0d1fed0] take_both+0x24 (via other) at ffffffffc047a2c4 [kslab]
    [exception RIP: kslab_write+165]
    RIP: ffffffffc047ade5  RSP: ffffb5e0c0d1fea8  RFLAGS: 00010246
#10 [ffffb5e0c0d1ff50] ret_from_fork at ffffffff968032f2
    RIP: 00007f0000001234  RSP: 00007ffc00000000  RFLAGS: 00000246

PID: 0        TASK: ffffffff98a1a480  (1 of 2)  CPU: 0    COMMAND: \"swapper/0\"
 #0 [fffffe0000009e50] crash_nmi_callback at ffffffff96856a31
";

    #[test]
    fn everything_that_bt_prints_is_read() {
        let text = TEXT.as_bytes();
        assert_eq!(CrashBt.sniff(text), Confidence::Certain);
        let capture = CrashBt.parse(text);
        let [first, second] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((first.pid, first.cpu, first.process.as_deref()), (Some(133), Some(1), Some("kslab \"a\" b")));
        assert_eq!((second.pid, second.cpu, second.process.as_deref(), second.line), (Some(0), Some(0), Some("swapper/0"), 12));
        let part = |span: Span, frame: &RawFrame| String::from_utf8_lossy(span.of(text, frame.line_start)).into_owned();
        let seen: Vec<_> = first.frames.iter().map(|f| (part(f.symbol, f), f.offset, f.address.unwrap().0, part(f.module, f))).collect();
        let row = |symbol: &str, offset, address, module: &str| (symbol.to_string(), offset, address, module.to_string());
        assert_eq!(
            seen,
            [
                row("__schedule", None, 0xffff_ffff_9725_271d, ""),
                row("schedule", Some(90), 0xffff_ffff_9725_2e2a, ""),
                row("take_both", Some(0x24), 0xffff_ffff_c047_a2c4, "kslab"),
                row("kslab_write", Some(165), 0xffff_ffff_c047_ade5, ""),
                row("ret_from_fork", None, 0xffff_ffff_9680_32f2, ""),
            ]
        );
        assert_eq!(part(first.frames[0].location, &first.frames[0]), "/usr/src/kernel/sched/core.c: 5257");
        assert_eq!((first.frames[3].role, first.frames[3].lookup), (Role::Regs, Lookup::Exact));
    }

    #[test]
    fn kernel_logs_are_not_claimed() {
        assert_eq!(CrashBt.sniff(b"CPU: 0 PID: 133 Comm: dd\nCall Trace:\n f+0x1/0x2\n"), Confidence::No);
        assert_eq!(CrashBt.sniff(b"PID: 133\n[<0>] f+0x1/0x2\n"), Confidence::No);
    }
}

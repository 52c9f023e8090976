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
//!  NIP: c00800000e2a1048    MSR: 800000000280b033                        PowerPC's registers, and below them
//!  [NIP  : kslab_write+72]
//!               START: machine_kexec at ffffffff8106a3c1                bt -t: what looks like an address of code on the stack
//!   [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d
//! ```
//! What a session says first is read by [`super::crash_session`].
//! Sources: `print_stack_entry` and `eframe_display` of crash (x86_64.c, arm64.c, task.c; version 8). The number in brackets is where the
//! frame lies on the stack. Addresses behind `at` are return addresses; that of an exception is the very instruction.

use memchr::memmem;

use super::crash_session::Session;
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
        "crash's bt, bt -a, foreach bt, also with -f, -l, -s, -t, within a whole session with its log"
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

    fn session(&self, above: &[u8], text: &[u8], block: &mut Capture) {
        let Some((session, said)) = Session::above(above).filter(|_| Session::above(text).is_none()) else { return };
        session.panicked(said, &mut block.stacks);
        block.kernel_version = block.kernel_version.take().or(session.release);
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut headings, mut frames) = (0, 0);
        for line in lex::lines(head) {
            headings += usize::from(heading(&line).is_some());
            let numbered = frame(&line).is_some_and(|(_, frame)| frame.role != Role::Inline);
            frames += usize::from(numbered || (headings > 0 && leftover(&line).is_some()));
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
        let mut reader = Reader { text, ..Reader::default() };
        lex::lines(text).for_each(|line| reader.line(&line));
        let mut stacks = reader.stacks.finish();
        reader.session.panicked(text, &mut stacks);
        Capture {
            format: self.id(),
            os: Some(Os::Linux),
            arch: reader.arch,
            kernel_version: reader.session.release,
            basis: Some(Basis::Runtime),
            headlines: reader.session.panic.into_iter().collect(),
            stacks,
            ..Capture::default()
        }
    }
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// Of the latest frame.
    number: u32,
    /// Whether the registers of an exception are due, whose symbol was printed.
    registers: bool,
    /// Where PowerPC's latest registers say that execution was.
    nip: Option<Avma>,
    arch: Option<Arch>,
    session: Session,
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
        } else if let Some(frame) = interrupted(line) {
            (self.registers, self.arch) = (false, self.arch.or(Some(Arch::Ppc64)));
            let address = self.nip.take();
            self.push(RawFrame { address, ..frame });
        } else if let Some(frame) = leftover(line).filter(|_| self.stacks.is_open()) {
            self.push(frame);
        } else if let Some(at) = instruction_pointer(line.bytes).filter(|_| self.registers) {
            self.registers = false;
            if let Some(frame) = self.stacks.frames().last_mut() {
                frame.address = Some(at);
                self.arch = self.arch.or(Some(Arch::X86_64));
            }
        } else if line.bytes.starts_with(b"crash>") {
            self.stacks.close();
        } else if let Some(at) = line.bytes.trim_ascii_start().strip_prefix(b"NIP: ") {
            self.nip = lex::words(at).next().and_then(lex::bare_hex).map(Avma);
        } else if !self.session.line(line) {
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
    if !on_stack(cursor) {
        return None;
    }
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some((number, inline));
    }
    Some((number, called(cursor)?))
}

/// `[ffffb5e0c0d1fed0] `: where on the stack.
fn on_stack(cursor: &mut Cursor<'_, '_>) -> bool {
    let found = cursor.eat(b"[") && address(cursor).is_some() && cursor.eat(b"]");
    cursor.blanks();
    found
}

/// An address of any length: the kernel of s390 begins at 0.
fn address(cursor: &mut Cursor<'_, '_>) -> Option<Avma> {
    let rest = cursor.rest();
    let len = rest.iter().take(19).take_while(|b| b.is_ascii_alphanumeric()).count();
    let value = lex::hex(&rest[..len]).or_else(|| lex::bare_hex(&rest[..len]))?;
    cursor.at += len;
    Some(Avma(value))
}

/// `              START: machine_kexec at ffffffff8106a3c1` and `  [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d` of `bt -t`. Below the
/// first, nobody knows what was called by what.
fn leftover(line: &Line<'_>) -> Option<RawFrame> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: lex::indent(line.bytes) };
    let first = cursor.eat(b"START: ");
    cursor.blanks();
    if cursor.at < 2 || !(first || on_stack(cursor)) {
        return None;
    }
    let frame = called(cursor)?;
    Some(RawFrame { reliable: first, ..frame })
}

/// `take_both+36 (via f) at ffffffffc047a2c4 [kslab]`.
fn called(cursor: &mut Cursor<'_, '_>) -> Option<RawFrame> {
    let start = cursor.at;
    let mut frame = named(cursor)?;
    let at = memmem::find(cursor.rest(), b" at ")
        .filter(|at| matches!(&cursor.rest()[..*at], via if via.is_empty() || via.starts_with(b" (via ")))?;
    cursor.at += at + 4;
    frame.address = Some(address(cursor)?);
    frame.text = cursor.span(start, cursor.at);
    cursor.module(&mut frame);
    frame.reliable = !cursor.rest().trim_ascii_end().ends_with(b"(unreliable)");
    debugger_parts::found_before(cursor, &mut frame);
    Some(frame)
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
    exact(cursor, address)
}

/// ` [NIP  : kslab_write+72]` below the registers of PowerPC.
fn interrupted(line: &Line<'_>) -> Option<RawFrame> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: lex::indent(line.bytes) };
    if cursor.eat(b"[NIP  : ") { exact(cursor, None) } else { None }
}

/// What stands in the bracket of an exception.
fn exact(cursor: &mut Cursor<'_, '_>, address: Option<Avma>) -> Option<RawFrame> {
    if let Some(inline) = inlined(&mut Cursor { ..*cursor }) {
        return Some(inline);
    }
    // A place that an earlier run added stands inside the bracket.
    let inside = Record { text: cursor.record.text.trim_ascii_end().strip_suffix(b"]")?, ..*cursor.record };
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

    /// Names, addresses and reliability of all frames.
    fn frames(text: &str) -> Vec<(String, u64, bool)> {
        let capture = CrashBt.parse(text.as_bytes());
        let frames = capture.stacks.iter().flat_map(|stack| stack.frames.iter());
        let name = |frame: &RawFrame| lex::text(frame.symbol.of(text.as_bytes(), frame.line_start));
        frames.map(|frame| (name(frame), frame.address.map_or(0, |at| at.0), frame.reliable)).collect()
    }

    #[test]
    fn short_addresses_powerpc_and_what_lies_on_a_stack() {
        let row = |name: &str, address, reliable| (name.to_string(), address, reliable);
        let s390 =
            "PID: 12   TASK: 1e9d0000  CPU: 0   COMMAND: \"a\"\n #0 [1e9d3be8] __schedule at 8a1c00\n #1 [1e9d3c70] schedule at 8a2110\n";
        assert_eq!(CrashBt.sniff(s390.as_bytes()), Confidence::Certain);
        assert_eq!(frames(s390), [row("__schedule", 0x8a_1c00, true), row("schedule", 0x8a_2110, true)]);
        let ppc = "PID: 12   TASK: c0000000f3b08000  CPU: 5   COMMAND: \"a\"\n #0 [c00000000f3b7730] die at c00000000002b3c4\n \
            Data Access [300] exception frame:\n NIP: c00800000e2a1048    MSR: 800000000280b033\n [NIP  : zio_done+72]\n [LR   : x+148]\n \
            #1 [c00000000f3b7af0] zio_done at c00800000e2a1048 [zfs]  (unreliable)\n";
        let pc = 0xc008_0000_0e2a_1048;
        assert_eq!(frames(ppc), [row("die", 0xc000_0000_0002_b3c4, true), row("zio_done", pc, true), row("zio_done", pc, false)]);
        assert_eq!(CrashBt.parse(ppc.as_bytes()).stacks[0].frames[1].role, Role::Regs);
        let found = "PID: 12   TASK: ffff9c4e8239a100  CPU: 1   COMMAND: \"a\"\n              START: machine_kexec at ffffffff8106a3c1\n  \
            [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d\n  [ffffb5e0c0d1fd98] f at ffffffffc047a2c4 [zfs]\n";
        let want = [row("machine_kexec", 0xffff_ffff_8106_a3c1, true), row("__schedule", 0xffff_ffff_9725_271d, false)];
        assert_eq!(frames(found)[..2], want);
        assert_eq!((frames(found).len(), CrashBt.sniff(found.as_bytes())), (3, Confidence::Certain));
    }

    #[test]
    fn kernel_logs_are_not_claimed() {
        assert_eq!(CrashBt.sniff(b"CPU: 0 PID: 133 Comm: dd\nCall Trace:\n f+0x1/0x2\n"), Confidence::No);
        assert_eq!(CrashBt.sniff(b"PID: 133\n[<0>] f+0x1/0x2\n"), Confidence::No);
    }
}

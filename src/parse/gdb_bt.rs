//! Stacks of a kernel as gdb prints them: `bt`, `thread apply all bt`, through QEMU, kgdb, kdump files or a serial line.
//!
//! ```text
//! Thread 2 (Thread 1.2 (CPU#1 [halted ])):
//! #0  0xffffffff9725271d in context_switch (prev=0xffff9c4e8239a100) at kernel/sched/core.c:5257
//! #1  __schedule (sched_mode=sched_mode@entry=0) at kernel/sched/core.c:6584      the frame that #0 is inlined into
//! #2  0xffffffff97252e2a in schedule () at kernel/sched/core.c:6660
//! #3  0xffffffffc047a2c4 in take_both () from /lib/modules/kslab.ko
//! #4  <signal handler called>                                    a trap; the next frame was interrupted
//! #5  0x0000000000000000 in ?? ()
//! (kgdb) #0  doadump (textdump=0) at pcpu.h:219                  a log in which the commands are not
//! ```
//! Sample: gdb 13 on a guest of QEMU 7.2. gdb prints the address of an outer frame unless it is that of the frame above it, which is
//! inlined then (`frame_show_address` in gdb/stack.c). With a width set it breaks lines before ` at ` and between arguments.

use memchr::memmem;

use super::debugger_parts::{self, Collector};
use super::lex::{self, Line};
use super::linux_proc_stack;
use super::linux_symbol::{self, Cursor, inlined, place_len};
use super::{Confidence, Format, Holds, drgn_bt};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack};

/// The format.
pub struct GdbBt;

/// Below this lies user space on every 64-bit architecture.
const LOWEST: u64 = 0xffff_0000_0000_0000;

/// Lines that one frame may be broken into. gdb's arguments are long; more is some other text.
const MOST_LINES: u32 = 24;

impl Format for GdbBt {
    fn id(&self) -> &'static str {
        "gdb-bt"
    }
    fn about(&self) -> &'static str {
        "gdb's bt and thread apply all bt of a kernel (QEMU, kgdb)"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"#0  "]
    }
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let own = |line: Line<'_>| frame(&line).is_some() && !drgn_bt::is_frame(&line);
        lex::lines(rest).next().is_some_and(own) && self.sniff(rest) == Confidence::Certain
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let kernel = |(_, frame): &(u32, RawFrame)| frame.address.is_some_and(|address| address.0 >= LOWEST);
        let found = lex::lines(head).filter_map(|line| frame(&line)).any(|frame| kernel(&frame));
        if found { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, stacks: Collector::default(), number: 0, trapped: false, echo: false, arch: None, linux: false };
        lex::lines(text).for_each(|line| reader.line(&line));
        debugger_parts::capture(self.id(), reader.linux.then_some(Os::Linux), reader.arch, reader.stacks)
    }
}

struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// Of the latest frame.
    number: u32,
    /// Whether the latest line of the stack was a trap's.
    trapped: bool,
    /// Whether the latest command shows one frame, which is no stack.
    echo: bool,
    arch: Option<Arch>,
    /// Whether a function was seen that only Linux has.
    linux: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let prompt = prompt(line.bytes);
        if prompt > 0 {
            self.close();
            self.echo = shows_one(&line.bytes[prompt..]);
        }
        if let Some((number, frame)) = frame(line) {
            self.frame(number, frame);
        } else if let Some(number) = trap(line) {
            (self.number, self.trapped) = (number, true);
        } else if line.bytes.starts_with(b"  ") {
            self.goes_on(line);
        } else if line.bytes.trim_ascii().is_empty() {
            self.close();
        } else if let Some(stack) = thread(line).or_else(|| task(line)) {
            self.stacks.open(stack);
        }
    }

    fn frame(&mut self, number: u32, mut frame: RawFrame) {
        let below = frame.role == Role::Inline;
        if !self.stacks.frames().is_empty() && number <= self.number && !(below && number == self.number) {
            self.close();
        }
        self.number = number;
        if std::mem::take(&mut self.echo) {
            self.stacks.open(Stack { line: frame.line, count: 1, aside: true, ..Stack::default() });
        }
        if !below {
            self.inline_above(&mut frame);
            frame.lookup = if self.is_exact() { Lookup::Exact } else { Lookup::Return };
        }
        let symbol = frame.symbol.of(self.text, frame.line_start);
        self.linux |= linux_symbol::is_entry(symbol) || matches!(symbol, b"context_switch" | b"kthread" | b"start_kernel");
        self.arch = self.arch.or_else(|| debugger_parts::arch(&frame, self.text));
        self.trapped = false;
        self.stacks.push(frame);
    }

    fn close(&mut self) {
        self.stacks.close();
        self.trapped = false;
    }

    /// A frame without an address has that of the frame above, which is inlined into it.
    fn inline_above(&mut self, frame: &mut RawFrame) {
        let Some(above) = self.stacks.frames().last_mut().filter(|_| frame.address.is_none() && !self.trapped) else { return };
        frame.address = above.address.take();
        above.role = Role::Inline;
    }

    /// Whether the next frame's address is where execution was.
    fn is_exact(&mut self) -> bool {
        let text = self.text;
        let above = self.stacks.frames().iter().rev().find(|frame| frame.role != Role::Inline);
        self.trapped || above.is_none_or(|frame| debugger_parts::interrupts(frame.symbol.of(text, frame.line_start)))
    }

    /// The rest of a frame that did not fit into its line: arguments, `    at FILE:LINE`.
    fn goes_on(&mut self, line: &Line<'_>) {
        let Some(frame) = self.stacks.frames().last_mut().filter(|frame| frame.location.is_empty()) else { return };
        let from = line.start.saturating_sub(frame.line_start);
        if line.number - frame.line > MOST_LINES || from > u64::from(u32::MAX / 2) {
            return;
        }
        if let Some(place) = place(line.bytes) {
            frame.location = Span { start: from as u32 + place.start, end: from as u32 + place.end };
        }
    }
}

/// `Thread 2 (Thread 1.2 (CPU#1 [halted ])):`, `Thread 35 (Thread 271 "txg_sync"):`, `Thread 100183 (PID=3480: dd):`.
fn thread(line: &Line<'_>) -> Option<Stack> {
    let inside = line.bytes.trim_ascii_end().strip_prefix(b"Thread ")?.strip_suffix(b"):")?;
    let (number, target) = inside.split_at(memchr::memchr(b' ', inside)?);
    lex::decimal(number)?;
    let target = target.strip_prefix(b" (")?;
    let mut stack = Stack { line: line.number, count: 1, tid: Some(lex::text(number)), ..Stack::default() };
    if let Some(id) = target.strip_prefix(b"Thread ").and_then(|rest| lex::words(rest).next()) {
        stack.tid = Some(lex::text(id.strip_suffix(b")").unwrap_or(id)));
    }
    if let Some(rest) = target.strip_prefix(b"PID=") {
        let (pid, name) = rest.split_at(memchr::memchr(b':', rest)?);
        stack.pid = lex::decimal(pid).and_then(|pid| i64::try_from(pid).ok());
        stack.process = Some(lex::text(name[1..].trim_ascii()));
    }
    processor(target, &mut stack);
    let quoted = memchr::memchr(b'"', target).map(|at| &target[at + 1..]);
    stack.thread = quoted.and_then(|name| Some(lex::text(&name[..memchr::memchr(b'"', name)?])));
    Some(stack)
}

/// `CPU#1 [halted ]`: how QEMU names the threads that stand for its processors.
fn processor(target: &[u8], stack: &mut Stack) {
    let Some(at) = memmem::find(target, b"CPU#") else { return };
    let rest = &target[at + 4..];
    let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    stack.cpu = lex::decimal(&rest[..digits]).and_then(|cpu| u32::try_from(cpu).ok());
    let state = rest[digits..].strip_prefix(b" [").and_then(|state| Some(&state[..memchr::memchr(b']', state)?]));
    stack.state = state.map(|state| lex::text(state.trim_ascii())).filter(|state| !state.is_empty());
}

/// `== task 133 kslab_abba/0`: what scripts print above the stack of a task.
fn task(line: &Line<'_>) -> Option<Stack> {
    const LABELS: [&[u8]; 5] = [b"PID", b"TID", b"TASK", b"THREAD", b"PROCESS"];
    let word = line.bytes.split(|b| !b.is_ascii_alphabetic()).next().unwrap_or_default();
    // Lines of the source, which gdb prints below a frame, begin with a number.
    if !line.bytes.starts_with(b"==") && !LABELS.iter().any(|label| word.eq_ignore_ascii_case(label)) {
        return None;
    }
    let (pid, process) = linux_proc_stack::task(line.bytes)?;
    Some(Stack { pid, process, line: line.number, count: 1, ..Stack::default() })
}

/// How long the prompt is that a line begins with.
fn prompt(line: &[u8]) -> usize {
    let prompt = [&b"(gdb)"[..], b"(kgdb)"].into_iter().find(|prompt| line.starts_with(prompt));
    prompt.map_or(0, |prompt| prompt.len() + lex::indent(&line[prompt.len()..]))
}

/// Whether gdb answers a command with the one frame that it has chosen.
fn shows_one(command: &[u8]) -> bool {
    let mut words = lex::words(command);
    let (name, more) = (words.next().unwrap_or_default(), words.next());
    let chosen = more.is_some_and(|word| word.iter().all(u8::is_ascii_digit));
    matches!(name, b"up" | b"down" | b"do" | b"frame" | b"f") || chosen && matches!(name, b"thread" | b"t")
}

/// `#8  <signal handler called>`: its number.
fn trap(line: &Line<'_>) -> Option<u32> {
    let record = debugger_parts::record(line);
    let cursor = &mut Cursor { record: &record, at: prompt(line.bytes) };
    let number = debugger_parts::number(cursor)?;
    (cursor.rest().trim_ascii_end() == b"<signal handler called>").then_some(number)
}

/// `#3  0xADDR in NAME (ARGUMENTS) at FILE:LINE`, without what gdb leaves out.
fn frame(line: &Line<'_>) -> Option<(u32, RawFrame)> {
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
fn place(text: &[u8]) -> Option<Span> {
    let text = text.trim_ascii_end();
    let start = memmem::rfind(text, b" at ")? + 4;
    let len = place_len(&text[start..])?;
    (start + len == text.len()).then_some(Span { start: start as u32, end: text.len() as u32 })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Thread 2 (Thread 1.2 (CPU#1 [halted ])):
#0  0xffffffff9725271d in context_switch (prev=0xffff9c4e8239a100, buf=0x7f77 <error: Cannot access memory at address 0x7f77>)
    at kernel/sched/core.c:5257
#1  __schedule (sched_mode=sched_mode@entry=0) at kernel/sched/core.c:6584
#2  0xffffffff97252e2a in schedule () at kernel/sched/core.c:6660
#3  0xffffffffc047a2c4 in take_both () from /lib/modules/kslab.ko
#4  0xffffffff968cd41a in ?? ()
#5  0x0000000000000000 in ?? ()
Backtrace stopped: previous frame inner to this frame (corrupt stack?)

== task 134 kslab_abba/1
#0  native_safe_halt () at arch/x86/include/asm/irqflags.h:52
#1  0xffffffff968cd41a in kthread (_create=0xffff9c4e8239a100) at kernel/kthread.c:376
";

    #[test]
    fn inlined_frames_give_their_address_to_the_one_they_are_in() {
        let text = TEXT.as_bytes();
        assert_eq!(GdbBt.sniff(text), Confidence::Certain);
        let capture = GdbBt.parse(text);
        let [first, second] = &capture.stacks[..] else { panic!("{:?}", capture.stacks) };
        assert_eq!((first.tid.as_deref(), first.cpu, first.state.as_deref()), (Some("1.2"), Some(1), Some("halted")));
        assert_eq!((second.pid, second.process.as_deref(), second.frames.len()), (Some(134), Some("kslab_abba/1"), 2));
        let part = |span: Span, frame: &RawFrame| String::from_utf8_lossy(span.of(text, frame.line_start)).into_owned();
        let row = |f: &RawFrame| (part(f.symbol, f), f.address.map_or(0, |at| at.0), part(f.location, f), f.role, f.lookup);
        let frames: Vec<_> = first.frames.iter().map(row).collect();
        let place = "kernel/sched/core.c:5257".to_string();
        assert_eq!(frames[0], ("context_switch".into(), 0, place, Role::Inline, Lookup::Exact));
        let place = "kernel/sched/core.c:6584".to_string();
        assert_eq!(frames[1], ("__schedule".into(), 0xffff_ffff_9725_271d, place, Role::Call, Lookup::Exact));
        assert_eq!(frames[3], ("take_both".into(), 0xffff_ffff_c047_a2c4, String::new(), Role::Call, Lookup::Return));
        assert_eq!((frames[4].0.as_str(), frames.len()), ("", 6));
        assert!(first.frames[5].is_end());
        assert_eq!(capture.os, Some(Os::Linux));
    }

    #[test]
    fn traps_stand_within_a_stack_and_prompts_before_frames() {
        let text = "\
f () at a.h:55
55\t\t__asm(\"movq %%gs:%P1,%0\" : \"=r\" (td));
(kgdb) #0  f () at a.h:55
#1  doadump (textdump=0)
    at kern_shutdown.c:399
#2  0xffffffff804c8fea in db_dump (dummy=0) at db_command.c:575
#3  <signal handler called>
#4  kdb_enter (why=0x0) at subr_kdb.c:506
#5  0xffffffff80c252a2 in pause_sig () at x.c:1
(kgdb) up
#1  doadump (textdump=0) at kern_shutdown.c:399
399\t\tdumpsys(0);
(kgdb) bt
#0  0xffffffff80c252a2 in pause_sig () at x.c:1
(kgdb)
";
        let capture = GdbBt.parse(text.as_bytes());
        let numbers: Vec<(usize, bool, Option<i64>)> = capture.stacks.iter().map(|s| (s.frames.len(), s.aside, s.pid)).collect();
        assert_eq!(numbers, [(5, false, None), (1, true, None), (1, false, None)]);
        let frames: Vec<_> = capture.stacks[0].frames.iter().map(|f| (f.role, f.lookup, f.address.map(|at| at.0))).collect();
        let outer = (Role::Call, Lookup::Return, Some(0xffff_ffff_80c2_52a2));
        assert_eq!(frames[2..], [(Role::Call, Lookup::Return, Some(0xffff_ffff_804c_8fea)), (Role::Call, Lookup::Exact, None), outer]);
    }

    #[test]
    fn programs_and_other_debuggers_are_not_claimed() {
        for text in [
            "#0  0x00007ffff7e4a1f7 in raise () from /lib64/libc.so.6\n#1  main (argc=1) at main.c:3\n",
            "#0  context_switch (./kernel/sched/core.c:5328:2)\n#1  __schedule (./kernel/sched/core.c:6604:8)\n",
            "#0 at 0xffffffff9725271d (__schedule+0x34d/0xa00) in context_switch at kernel/sched/core.c:5257:2 (inlined)\n",
            "#7 0xffffffff810302fc at atrtc_settime+0xc\n",
            " #0 [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d\n",
        ] {
            assert_eq!(GdbBt.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }
}

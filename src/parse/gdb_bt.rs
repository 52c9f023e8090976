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
//! The frame that gdb shows when it stops, or when it is given a dump, stands again in the `bt` below it.
//! Sample: gdb 13 on a guest of QEMU 7.2. gdb prints the address of an outer frame unless it is that of the frame above it, which is
//! inlined then (`frame_show_address` in gdb/stack.c). With a width set it breaks lines before ` at ` and between arguments.

use memchr::memmem;

use super::debugger_parts::{self, Collector};
use super::gdb_frame::{frame, place, prompt, trap};
use super::lex::{self, Line};
use super::linux_proc_stack;
use super::linux_symbol;
use super::{Confidence, Format, Holds, drgn_bt};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::stack::{Lookup, RawFrame, Role, Span, Stack};

/// The format.
pub struct GdbBt;

/// Below this lies user space on every 64-bit architecture.
const LOWEST: u64 = 0xffff_0000_0000_0000;

/// Kernels of 32 bits, and those of some other architectures, lie above this; so do programs, whose functions have other names.
const LOWEST_32: u64 = 0x8000_0000;
const KERNELS: [&[u8]; 16] = [
    b"doadump",
    b"kern_reboot",
    b"trap_fatal",
    b"mi_switch",
    b"sched_switch",
    b"sleepq_wait",
    b"fork_exit",
    b"fork_trampoline",
    b"__schedule",
    b"start_kernel",
    b"rest_init",
    b"cpu_startup_entry",
    b"do_idle",
    b"ret_from_fork",
    b"rcu_gp_kthread",
    b"smpboot_thread_fn",
];

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
        let (mut high, mut middle, mut named) = (false, false, false);
        for (line, (_, frame)) in lex::lines(head).filter_map(|line| Some((line, frame(&line)?))) {
            let at = frame.address.map_or(0, |address| address.0);
            (high, middle) = (high || at >= LOWEST, middle || at >= LOWEST_32);
            named |= KERNELS.contains(&frame.symbol.of(&head[line.start as usize..], 0));
        }
        if high || middle && named { Confidence::Certain } else { Confidence::No }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, ..Reader::default() };
        lex::lines(text).for_each(|line| reader.line(&line));
        debugger_parts::capture(self.id(), reader.linux.then_some(Os::Linux), reader.arch, reader.stacks)
    }
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// Of the latest frame.
    number: u32,
    /// Whether the latest line of the stack was a trap's.
    trapped: bool,
    /// Whether the latest command shows one frame, which is no stack.
    echo: bool,
    /// Whether the latest command shows a stack.
    asked: bool,
    /// The innermost frame of the latest stack, as it is printed.
    innermost: &'t [u8],
    /// The frame of a stack of one that nobody asked for, and which of the stacks that is.
    current: Option<(&'t [u8], usize)>,
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
            self.asked = !self.echo && shows_all(&line.bytes[prompt..]);
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
        match self.stacks.frames().len() {
            0 => self.innermost = frame.text.of(self.text, frame.line_start),
            1 => self.shown_again(),
            _ => {}
        }
        self.stacks.push(frame);
    }

    /// Puts aside the frame that gdb showed before, if the stack that is being read begins with it: it is of the same thread.
    fn shown_again(&mut self) {
        let innermost = self.innermost;
        let shown = self.current.take_if(|(frame, _)| *frame == innermost);
        if let Some(stack) = shown.and_then(|(_, at)| self.stacks.closed().get_mut(at)) {
            stack.aside = true;
        }
    }

    fn close(&mut self) {
        let alone = self.stacks.frames().len() == 1 && self.number == 0 && !self.asked;
        self.stacks.close();
        self.trapped = false;
        let at = self.stacks.closed().len().wrapping_sub(1);
        if let Some(stack) = self.stacks.closed().last().filter(|_| alone) {
            self.current = (!stack.aside && stack.tid.is_none() && stack.pid.is_none()).then_some((self.innermost, at));
        }
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

/// Whether gdb answers a command with the one frame that it has chosen.
fn shows_one(command: &[u8]) -> bool {
    let mut words = lex::words(command);
    let (name, more) = (words.next().unwrap_or_default(), words.next());
    let chosen = more.is_some_and(|word| word.iter().all(u8::is_ascii_digit));
    matches!(name, b"up" | b"down" | b"do" | b"frame" | b"f") || chosen && matches!(name, b"thread" | b"t")
}

/// Whether a command shows a whole stack. A log in which the commands are not has the first frame behind the prompt.
fn shows_all(command: &[u8]) -> bool {
    let name = lex::words(command).next().unwrap_or_default();
    matches!(name, b"bt" | b"backtrace" | b"where" | b"thread" | b"info" | b"i") || name.starts_with(b"#")
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
    fn the_frame_that_a_stop_shows_is_no_stack_when_it_stands_again_in_one() {
        let stop = "#0  doadump (textdump=1) at pcpu.h:221\n221\tin pcpu.h\n";
        let bt = "#0  doadump (textdump=1) at pcpu.h:221\n#1  0xc0a252a2 in kern_reboot () at x.c:1\n";
        let other = "#0  sched_switch (td=0x1) at y.c:1\n#1  0xc0a252a4 in mi_switch () at x.c:2\n";
        let read = |parts: &[&str]| -> Vec<(usize, bool)> {
            let text = parts.concat();
            assert_eq!(GdbBt.sniff(text.as_bytes()), Confidence::Certain);
            GdbBt.parse(text.as_bytes()).stacks.iter().map(|stack| (stack.frames.len(), stack.aside)).collect()
        };
        assert_eq!(read(&[stop, "(kgdb) bt\n", bt, "(kgdb) bt\n", bt]), [(1, true), (2, false), (2, false)]);
        assert_eq!(read(&[stop, "(kgdb) ", bt]), [(1, true), (2, false)]);
        assert_eq!(read(&[stop, "(kgdb) proc 7\n", other, "(kgdb) bt\n", other]), [(1, false), (2, false), (2, false)]);
        // One that was asked for is a stack, be it of one frame.
        assert_eq!(read(&["(kgdb) bt\n", stop, "(kgdb) bt\n", bt]), [(1, false), (2, false)]);
    }

    #[test]
    fn programs_and_other_debuggers_are_not_claimed() {
        for text in [
            "#0  0x00007ffff7e4a1f7 in raise () from /lib64/libc.so.6\n#1  main (argc=1) at main.c:3\n",
            "#0  0xf7a4a1f7 in raise () from /lib/libc.so.6\n#1  main (argc=1) at main.c:3\n",
            "#0  context_switch (./kernel/sched/core.c:5328:2)\n#1  __schedule (./kernel/sched/core.c:6604:8)\n",
            "#0 at 0xffffffff9725271d (__schedule+0x34d/0xa00) in context_switch at kernel/sched/core.c:5257:2 (inlined)\n",
            "#7 0xffffffff810302fc at atrtc_settime+0xc\n",
            " #0 [ffffb5e0c0d1fd90] __schedule at ffffffff9725271d\n",
        ] {
            assert_eq!(GdbBt.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }
}

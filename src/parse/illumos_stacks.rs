//! Stacks of illumos: panics on the console and in syslog, and what mdb prints of a crash dump or the running kernel.
//!
//! ```text
//! panic[cpu3]/thread=fffffe000f4a3c20: BAD TRAP: type=e (#pf Page fault) rp=fffffe000f4a37c0 addr=18
//! fffffe000f4a3a10 zfs:zio_done+4a8 ()
//!
//! > ::stacks
//! THREAD           STATE    SOBJ                COUNT
//! fffffe000f4a3c20 SLEEP    CV                     17
//!                  swtch+0x133
//! > ::findstack -v
//! stack pointer for thread fffffe000f4a3c20 (txg_sync): fffffe000f4a3890
//! > ::threadlist -v
//!             ADDR             PROC              LWP CLS PRI            WCHAN
//! fffffe000f4a3c20 fffffffffbc2eb80                0   0  60 fffffe0c3e8c8ba0
//!   PC: _resume_from_idle+0x12b    THREAD: txg_sync_thread()
//! ```
//! Sources: `vpanic` and `die` in usr/src/uts (illumos-gate); cmd/mdb/common/modules/genunix/findstack.c, findstack_subr.c, thread.c.
//! Frames are read by `illumos_line`. All are return addresses but that of what a trap interrupted.

use memchr::memmem;

use super::debugger_parts::Collector;
use super::illumos_line::{self, Form};
use super::illumos_panic::{Messages, panic, trapped};
use super::lex::{self, Line};
use super::{Confidence, Format, Holds};
use crate::model::addr::Arch;
use crate::model::capture::{Capture, Os};
use crate::model::image::{Basis, ImageClaim};
use crate::model::stack::{Lookup, RawFrame, Role, Stack, StackKind};

/// The format.
pub struct IllumosStacks;

/// The kernel's core, as frames name it. illumos does not move its kernel, so addresses are those of the file.
const KERNEL: &str = "unix";

/// States of a thread as mdb calls them (findstack_subr.c).
const STATES: [&[u8]; 8] = [b"FREE", b"SLEEP", b"RUN", b"ONPROC", b"ZOMB", b"STOPPED", b"WAIT", b"PANIC"];

impl Format for IllumosStacks {
    fn id(&self) -> &'static str {
        "illumos-stacks"
    }
    fn about(&self) -> &'static str {
        "illumos: panic stacks (console, syslog), mdb's $C, $c, ::findstack -v, ::stacks (counts are kept), ::threadlist -v"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"panic[cpu", b"]/thread=", b"STATE    SOBJ", b"stack pointer for ", b"> $C", b"> $c"]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let (mut headings, mut frames, mut calls) = (0, 0, 0);
        for line in lex::lines(head) {
            headings += usize::from(is_heading(&line));
            match illumos_line::frame(&line) {
                // Without a module the address of a frame and its arguments are all there is: such lines are many programs' own.
                Some((Form::Console, frame)) => frames += usize::from(!frame.module.is_empty()),
                Some((Form::Pointer, frame)) => frames += usize::from(frame.offset != Some(0)),
                Some((Form::Call, frame)) => calls += usize::from(frame.offset != Some(0)),
                _ => {}
            }
        }
        match (headings, frames, calls) {
            (1.., ..) | (_, 1.., _) => Confidence::Certain,
            (_, _, 2..) => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut reader = Reader { text, ..Reader::default() };
        let mut lines = lex::lines(text).peekable();
        while let Some(line) = lines.next() {
            let whole = lines.peek().and_then(|next| joined(text, &line, next));
            lines.next_if(|_| whole.is_some());
            reader.line(&whole.unwrap_or(line));
        }
        reader.messages.missed();
        Capture {
            format: self.id(),
            os: Some(Os::Illumos),
            arch: memmem::find(text, b"_resume_from_idle").or(memmem::find(text, b"rip:")).map(|_| Arch::X86_64),
            basis: Some(Basis::Runtime),
            kernel_name: Some(KERNEL.to_string()),
            kernel_version: reader.version,
            stacks: reader.stacks.finish(),
            images: reader.images,
            headlines: reader.messages.headlines,
            ..Capture::default()
        }
    }
}

/// A line and the next one as one, if a frame fills both.
fn joined<'t>(text: &'t [u8], line: &Line<'t>, next: &Line<'t>) -> Option<Line<'t>> {
    if !illumos_line::is_cut(line.bytes) {
        return None;
    }
    let end = usize::try_from(next.start).ok()? + next.bytes.len();
    let both = Line { bytes: text.get(usize::try_from(line.start).ok()?..end)?, ..*line };
    illumos_line::frame(&both).map(|_| both)
}

/// Lines that nothing else prints.
fn is_heading(line: &Line<'_>) -> bool {
    let text = &line.bytes[illumos_line::message(line.bytes)..];
    panic(text).is_some() || is_group_heading(text) || found(line).is_some() || is_list_heading(text)
}

#[derive(Default)]
struct Reader<'t> {
    text: &'t [u8],
    stacks: Collector,
    /// The latest line of `::threadlist`, whose `stack pointer` line follows.
    traps: Option<Stack>,
    /// Whether the latest headings were those of `::threadlist`.
    listed: bool,
    images: Vec<ImageClaim>,
    messages: Messages,
    /// Release and version, as `::status` has them.
    version: Option<String>,
    /// Whether mdb said what its crash dump is of: the stack that it shows next is the panic's.
    dumped: bool,
}

impl Reader<'_> {
    fn line(&mut self, line: &Line<'_>) {
        let at = illumos_line::message(line.bytes);
        let text = &line.bytes[at..];
        if let Some((form, frame)) = illumos_line::frame(line) {
            self.frame(form, frame);
        } else if let Some(stack) = group(line) {
            self.group(stack);
        } else if let Some(stack) = found(line) {
            self.found(stack);
        } else if let Some((stack, message)) = panic(text) {
            let title = self.messages.panic(line, at + message);
            self.stacks.open(Stack { line: line.number, title, ..stack });
        } else if self.messages.status(line, at) {
            self.stacks.close();
            self.dumped = true;
        } else if let Some(stack) = listed(line).filter(|_| self.listed) {
            self.stacks.close();
            self.traps = Some(stack);
        } else if let Some(title) = self.messages.message(line, at) {
            self.stacks.heading().into_iter().for_each(|stack| stack.title = Some(title.clone()));
        } else {
            self.other(text);
        }
    }

    fn other(&mut self, text: &[u8]) {
        if is_list_heading(text) {
            self.listed = true;
        } else if let Some(system) = text.trim_ascii().strip_prefix(b"operating system: ") {
            // `5.11 joyent_20190914T013443Z (i86pc)`: what stands in parentheses is the machine.
            let end = memmem::find(system, b" (").unwrap_or(system.len());
            self.version = self.version.take().or_else(|| Some(lex::text(&system[..end])));
        } else if text.trim_ascii_start().starts_with(b"%l") {
            // Registers below each frame of SPARC.
        } else if let (Some(stack), Some((_, whose))) = (&mut self.traps, lex_pair(text)) {
            name(stack, whose);
        } else if !text.trim_ascii().is_empty() || self.stacks.heading().is_none() {
            // Between the message of a panic and its stack stand a blank line and what the trap left in the registers.
            match self.stacks.heading().filter(|stack| stack.kind == StackKind::Crash) {
                Some(stack) => trapped(stack, text.trim_ascii()),
                None => self.stacks.close(),
            }
        }
    }

    fn frame(&mut self, form: Form, mut frame: RawFrame) {
        let text = self.text;
        // A group of `::stacks` has nothing but names; a stray name is none of its frames.
        let begins = self.stacks.frames().is_empty() && self.stacks.heading().is_none();
        if begins && form == Form::Plain {
            return;
        }
        self.messages.missed();
        if begins && std::mem::take(&mut self.dumped) {
            self.stacks.open(Stack { kind: StackKind::Crash, line: frame.line, count: 1, ..Stack::default() });
        }
        let above = self.stacks.frames().iter().rev().find(|frame| frame.role != Role::Inline);
        if above.is_some_and(|above| is_trap(above.symbol.of(text, above.line_start))) {
            frame.lookup = Lookup::Exact;
        }
        self.image(&frame);
        self.stacks.push(frame);
    }

    /// The modules that frames name, so that their files are looked for.
    fn image(&mut self, frame: &RawFrame) {
        let name = frame.module.of(self.text, frame.line_start);
        if name.is_empty() || self.images.iter().any(|image| image.name.as_bytes() == name) {
            return;
        }
        let name = lex::text(name);
        self.images.push(ImageClaim { kernel: name == KERNEL, name, basis: Basis::Runtime, line: frame.line, ..ImageClaim::default() });
    }

    /// With `-a` every thread of a group has a line, and only the first of them counts.
    fn group(&mut self, stack: Stack) {
        if stack.count > 0 {
            self.stacks.open(stack);
        } else if self.stacks.heading().is_none() {
            self.stacks.open(Stack { count: 1, ..stack });
        }
    }

    fn found(&mut self, stack: Stack) {
        let listed = self.traps.take().filter(|listed| listed.tid == stack.tid);
        self.stacks.open(listed.unwrap_or(stack));
    }
}

/// The functions that a trap or an interrupt enters the kernel by (usr/src/uts/intel/ml/exception.s, i86pc/ml/interrupt.s).
fn is_trap(symbol: &[u8]) -> bool {
    matches!(symbol, b"_cmntrap" | b"cmntrap" | b"cmntrap_pushed" | b"_interrupt" | b"cmnint")
}

fn is_group_heading(text: &[u8]) -> bool {
    let mut words = lex::words(text);
    [&b"THREAD"[..], b"STATE", b"SOBJ", b"COUNT"].iter().all(|word| words.next() == Some(word)) && words.next().is_none()
}

/// `fffffe000f4a3c20 SLEEP    CV                     17`; a count of 0 stands for the `-` of a thread that is counted with another.
fn group(line: &Line<'_>) -> Option<Stack> {
    let words: Vec<&[u8]> = lex::words(line.bytes).take(5).collect();
    let [thread, state, object, count] = &words[..] else { return None };
    lex::bare_hex(thread).filter(|_| thread.len() >= 8 && STATES.contains(state))?;
    Some(Stack {
        tid: Some(lex::text(thread)),
        state: Some(lex::text(state)),
        wait_channel: Some(*object).filter(|object| !matches!(*object, b"<NONE>" | b"-")).map(lex::text),
        count: if *count == b"-" { 0 } else { lex::decimal(count).filter(|count| *count > 0)? },
        line: line.number,
        ..Stack::default()
    })
}

/// `stack pointer for thread fffffe000f4a3c20 (txg_sync): fffffe000f4a3890`, without the name in older releases.
fn found(line: &Line<'_>) -> Option<Stack> {
    let rest = line.bytes.trim_ascii_start().strip_prefix(b"stack pointer for thread ")?;
    let end = rest.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(rest.len());
    lex::bare_hex(&rest[..end])?;
    let mut stack = Stack { tid: Some(lex::text(&rest[..end])), line: line.number, count: 1, ..Stack::default() };
    if let Some(called) = rest[end..].strip_prefix(b" (")
        && let Some(close) = memmem::rfind(called, b"):")
    {
        name(&mut stack, &called[..close]);
    }
    Some(stack)
}

fn is_list_heading(text: &[u8]) -> bool {
    lex::words(text).eq([&b"ADDR"[..], b"PROC", b"LWP", b"CLS", b"PRI", b"WCHAN"])
}

/// `fffffe000f4a3c20 fffffffffbc2eb80                0   0  60 fffffe0c3e8c8ba0`, below a heading that says so.
fn listed(line: &Line<'_>) -> Option<Stack> {
    let words: Vec<&[u8]> = lex::words(line.bytes).take(7).collect();
    let [thread, process, lwp, class, priority, channel] = &words[..] else { return None };
    let hex = |word: &[u8]| lex::bare_hex(word);
    hex(thread).filter(|_| thread.len() >= 8)?;
    // Threads that idle have the priority -1.
    let priority = lex::decimal(priority.strip_prefix(b"-").unwrap_or(priority));
    (hex(process).is_some() && hex(lwp).is_some() && lex::decimal(class).is_some() && priority.is_some()).then_some(())?;
    Some(Stack {
        tid: Some(lex::text(thread)),
        wait_channel: hex(channel).filter(|channel| *channel != 0).map(|_| lex::text(channel)),
        line: line.number,
        count: 1,
        ..Stack::default()
    })
}

/// `  PC: _resume_from_idle+0x12b    THREAD: txg_sync_thread()`: the place, and who it is.
fn lex_pair(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let rest = text.trim_ascii().strip_prefix(b"PC: ")?;
    let gap = memmem::find(rest, b"  ")?;
    Some((&rest[..gap], rest[gap..].trim_ascii()))
}

/// `CMD: sched`, `THREAD: txg_sync_thread()`, `TASKQ: zio_write_issue`; `::findstack` names threads without saying what the name is.
fn name(stack: &mut Stack, whose: &[u8]) {
    let value = |label: &[u8]| whose.strip_prefix(label).map(|value| lex::text(value.trim_ascii()));
    if let Some(command) = value(b"CMD:") {
        stack.process = Some(command);
    } else {
        stack.thread = Some(value(b"THREAD:").or_else(|| value(b"TASKQ:")).unwrap_or_else(|| lex::text(whose.trim_ascii())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Capture {
        assert_eq!(IllumosStacks.sniff(text.as_bytes()), Confidence::Certain, "{text}");
        IllumosStacks.parse(text.as_bytes())
    }

    #[test]
    fn a_panic_has_a_headline_and_the_trapped_instruction_is_exact() {
        let capture = read(
            "panic[cpu3]/thread=fffffe000f4a3c20: \nBAD TRAP: type=e (#pf Page fault) rp=1 addr=18\n\n\
             fffffe000f4a36b0 unix:die+df ()\nfffffe000f4a37b0 unix:_cmntrap+e6 ()\nfffffe000f4a3a10 zfs:zio_done+4a8 ()\n\
             fffffe000f4a3b40 fffffffff7a4d2f1 ()\n\nsyncing file systems... done\n",
        );
        let [stack] = &capture.stacks[..] else { panic!() };
        assert_eq!((stack.kind, stack.cpu, stack.tid.as_deref(), stack.line), (StackKind::Crash, Some(3), Some("fffffe000f4a3c20"), 1));
        let exact: Vec<bool> = stack.frames.iter().map(|frame| frame.lookup == Lookup::Exact).collect();
        assert_eq!(exact, [false, false, true, false]);
        assert_eq!(
            capture.images.iter().map(|image| (image.name.as_str(), image.kernel)).collect::<Vec<_>>(),
            [("unix", true), ("zfs", false)]
        );
        assert_eq!(capture.headlines.len(), 1);
    }

    #[test]
    fn a_trap_says_whose_it_was() {
        let text = "panic[cpu3]/thread=fffffe001f40ec20: \nBAD TRAP: type=e (#pf Page fault) rp=1 addr=18\n\n\nslab reader: \n#pf Page fault\n\
                    Bad kernel fault at addr=0x18\npid=1234, pc=0xfffffffff7a4d2f1, sp=0xfffffe001f40e820, eflags=0x10246\n\
                    cr0: 8005003b<pg,wp,ne,et,ts,mp,pe>\ncr2: 18\n\nfffffe001f40e720 unix:_cmntrap+e9 ()\nfffffe001f40e880 zfs:zio_done+21 ()\n";
        let of = |text: &str| {
            let stacks = read(text).stacks;
            (stacks.len(), stacks[0].frames.len(), stacks[0].pid, stacks[0].process.clone())
        };
        assert_eq!(of(text), (1, 2, Some(1234), Some("slab reader".to_string())));
        assert_eq!(of(&text.replace("BAD TRAP", "assertion failed")), (1, 2, None, None));
    }

    #[test]
    fn a_crash_dump_says_of_which_system_it_is() {
        let capture =
            read("> ::status\noperating system: 5.11 joyent_20190914T013443Z (i86pc)\n> $C\nfffffe003e9bf950 zfs`zio_wait+0x6b()\n");
        assert_eq!((capture.kernel_version.as_deref(), capture.stacks.len()), (Some("5.11 joyent_20190914T013443Z"), 1));
    }

    #[test]
    fn frames_of_sparc_fill_two_lines() {
        let text = "panic[cpu0]/thread=30001830b80: x\n\n000002a10050b840 zfs:zio_done+518 (fffe, 0, 1830f88, 1830f88,\n\
                    \x20   30002fb8040, 300000acfc8)\n  %l0-3: 0000000000000000 00000300030e4d80 0000030003418000 00000300018c0800\n\
                    \x20 %l4-7: 000002a10050b980 0000000000000500 0000000000000000 0000000000000502\n\
                    000002a10050ba30 unix:thread_start+4 (1, 2)\n\nsyncing file systems... 2 done\n";
        let capture = read(text);
        assert_eq!(capture.stacks.iter().map(|stack| (stack.kind, stack.frames.len())).collect::<Vec<_>>(), [(StackKind::Crash, 2)]);
        assert_eq!(capture.stacks[0].frames.iter().map(|frame| frame.line).collect::<Vec<_>>(), [3, 7]);
    }

    #[test]
    fn groups_keep_their_counts_states_and_sync_objects() {
        let capture = read(
            "> ::stacks -a\nTHREAD           STATE    SOBJ                COUNT\nfffffe000f4a3c20 SLEEP    CV                     17\n\
             fffffe000f4a4c20 SLEEP    CV                      -\n                 swtch+0x133\n                 zfs`txg_thread_wait+0xb7\n\n\
             fffffe000f4a5c20 ONPROC   <NONE>                  1\n                 idle+0xa1\n\n\
             fffffe000f4a6c20 FREE     <NONE>                  3\n                 <no consistent stack found>\n",
        );
        let seen: Vec<_> =
            capture.stacks.iter().map(|s| (s.count, s.state.as_deref().unwrap(), s.wait_channel.as_deref(), s.frames.len())).collect();
        assert_eq!(seen, [(17, "SLEEP", Some("CV"), 2), (1, "ONPROC", None, 1)]);
    }

    #[test]
    fn threads_of_a_list_are_named_by_it() {
        let capture = read(
            "            ADDR             PROC              LWP CLS PRI            WCHAN\n\
             fffffe000f4a3c20 fffffffffbc2eb80                0   0  -1 fffffe0c3e8c8ba0\n  PC: _resume_from_idle+0x12b    THREAD: txg_sync_thread()\n\
             \x20 stack pointer for thread fffffe000f4a3c20: fffffe000f4a3890\n  [ fffffe000f4a3890 _resume_from_idle+0x12b() ]\n    swtch+0x141()\n\n\
             stack pointer for thread fffffe000f4a4c20 (tq:zio_write_issue): fffffe000f4a4890\n[ fffffe000f4a4890 _resume_from_idle+0x12b() ]\n",
        );
        let seen: Vec<_> =
            capture.stacks.iter().map(|s| (s.thread.as_deref(), s.wait_channel.as_deref(), s.line, s.frames.len())).collect();
        assert_eq!(seen, [(Some("txg_sync_thread()"), Some("fffffe0c3e8c8ba0"), 2, 2), (Some("tq:zio_write_issue"), None, 8, 1)]);
    }

    #[test]
    fn what_others_print_is_not_claimed() {
        for text in [
            "ffffffff81000000 T _text\nffffffff81000040 t foo\n",
            "pmap_destroy() at netbsd:pmap_destroy+0x265\n",
            "[<0>] f+0x1/0x2 [spl]\n",
            "main()\nexit()\n",
            "Call Trace:\n f+0x1/0x2\n",
        ] {
            assert_eq!(IllumosStacks.sniff(text.as_bytes()), Confidence::No, "{text}");
        }
    }
}

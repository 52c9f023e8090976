//! FreeBSD: panics and KDB backtraces, ddb and textdumps, `procstat -kk`, Ctrl-T, witness, `core.txt`.
//!
//! ```text
//! KDB: stack backtrace:
//! #7 0xffffffff810302fc at zio_wait+0xc                                      kernel without a debugger
//! vpanic() at vpanic+0x1e0/frame 0xfffffe004b9db6b0                          kernel with DDB
//! 0xc00800001c1b1250: at vpanic+0x1d8                                       ... on powerpc; arm has registers below, see bsd_frame_ports.rs
//! db:0:kdb.enter.panic>  alltrace                                            textdump
//! Tracing command zfskern pid 5 tid 100096 td 0xfffff80003a5a000 (CPU 1)
//!   PID    TID COMM                TDNAME              KSTACK                procstat -kk -a
//! ```
//! `bsd_log` reads backtraces, `freebsd_procstat` tables and Ctrl-T.

use memchr::memmem;

use super::bsd_frame::Style;
use super::{Confidence, Format, Holds, bsd_log, freebsd_procstat};
use crate::model::addr::Slide;
use crate::model::capture::{Capture, Os};

/// The format.
pub struct FreeBsd;

/// What other systems do not print.
const MARKERS: &[&[u8]] = &[b"KDB: stack backtrace:", b"KDB: enter: ", b"Fatal trap ", b"FreeBSD ELF", b"\nTracing command ", b"db:0:"];

impl Format for FreeBsd {
    fn id(&self) -> &'static str {
        "freebsd"
    }
    fn about(&self) -> &'static str {
        "FreeBSD: panics, KDB and ddb backtraces, textdumps, core.txt, procstat -k and -kk, Ctrl-T"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[
            b"panic: ",
            b"KDB: stack backtrace",
            b"KDB: enter: ",
            b"Fatal trap ",
            b"Tracing command ",
            b"db_trace_self",
            b"TID COMM ",
            b"cmd: ",
        ]
    }

    /// Frames of some architectures are told only by what stands above them.
    fn begins(&self, _: &[u8], rest: &[u8]) -> bool {
        let first = super::first_line(rest);
        let kdb = || memmem::find(first, b"panic: ").is_some() && memmem::find(rest, b"KDB: stack backtrace").is_some();
        self.sniff(rest) == Confidence::Certain || memmem::find(first, b"KDB: stack backtrace").is_some() || kdb()
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let styles = bsd_log::styles(head);
        let marked = MARKERS.iter().any(|marker| memmem::find(head, marker).is_some());
        let own = styles.contains(&Style::WithFrame) || styles.contains(&Style::Numbered);
        let table = freebsd_procstat::sniff(head);
        let boot = memmem::find(head, b"\nFreeBSD ").is_some() || head.starts_with(b"FreeBSD ");
        match styles.contains(&Style::WithModule) {
            false if own || marked && !styles.is_empty() => Confidence::Certain,
            false if marked || boot => table.max(Confidence::Likely),
            _ => table,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        let mut capture = bsd_log::parse(text, self.id(), Os::FreeBsd);
        // Its kernel runs where it was linked (sys/conf/ldscript.*).
        capture.slide = Some(Slide(0));
        let tables = freebsd_procstat::stacks(text, &mut capture.notes);
        if !tables.is_empty() {
            capture.stacks.extend(tables);
            capture.stacks.sort_by_key(|stack| stack.line);
        }
        capture
    }
}

#[cfg(test)]
mod tests {
    use super::super::lex;
    use super::*;
    use crate::model::stack::{Lookup, RawFrame, Role, StackKind};

    const TRAP: &str = "\
Fatal trap 12: page fault while in kernel mode
cpuid = 3; apic id = 03
fault virtual address\t= 0x18
instruction pointer\t= 0x20:0xffffffff82632029
current process\t\t= 812 (slab reader)
trap number\t\t= 12
panic: page fault
cpuid = 3
KDB: stack backtrace:
";

    #[test]
    fn the_panic_behind_a_trap_is_of_the_same_process() {
        let text = [TRAP, "panic() at panic+0x43/frame 0xfffffe00a1b2c1b0\nKDB: enter: panic\n[ thread pid 812 tid 100345 ]\n"].concat();
        let stack = &FreeBsd.parse(text.as_bytes()).stacks[0];
        let who = (stack.pid, stack.process.as_deref(), stack.cpu, stack.tid.as_deref());
        assert_eq!(who, (Some(812), Some("slab reader"), Some(3), Some("100345")));
        // Another process's thread, or one behind another crash, is not that stack's.
        let other = FreeBsd.parse(text.replace("thread pid 812", "thread pid 7").as_bytes());
        let later = FreeBsd.parse(text.replace("KDB: enter: panic", "panic: other").as_bytes());
        assert_eq!((&other.stacks[0].tid, &later.stacks[0].tid), (&None, &None));
        // What a trap long before said is of another crash.
        let far = text.replace("panic: page fault", &["\n".repeat(30).as_str(), "panic: page fault"].concat());
        let stack = &FreeBsd.parse(far.as_bytes()).stacks[0];
        assert_eq!((stack.kind, &stack.process), (StackKind::Crash, &None));
    }

    #[test]
    fn only_the_frame_at_the_instruction_pointer_is_exact() {
        let frames = "#0 0xffffffff80b4c4d0 at kdb_backtrace+0x60\n#1 0xffffffff80bd1e00 at calltrap+0x8\n\
                      #2 0xffffffff82632029 at kslab_wait+0x9\n#3 0xffffffff82632029 at kslab_wait+0x9\n";
        let exact = |text: &str| -> Vec<bool> {
            let frames = &FreeBsd.parse([text, frames].concat().as_bytes()).stacks[0].frames;
            frames.iter().map(|frame| (frame.lookup, frame.role) == (Lookup::Exact, Role::Regs)).collect()
        };
        assert_eq!(exact(TRAP), [false, false, true, false]);
        assert_eq!(exact(&TRAP.replace("0x20:0xffffffff82632029", "0x20:0xffffffff82632020")), [false; 4]);
    }

    /// The frames of a panic's one stack, `!` before those that are no return addresses.
    fn frames(text: &str) -> Vec<String> {
        let text = ["panic: kslab\ncpuid = 0\nKDB: stack backtrace:\n", text, "KDB: enter: panic\n"].concat();
        assert_eq!(FreeBsd.sniff(text.as_bytes()), Confidence::Certain);
        let stacks = FreeBsd.parse(text.as_bytes()).stacks;
        assert_eq!((stacks.len(), stacks[0].kind), (1, StackKind::Crash));
        let mark = |lookup| if lookup == Lookup::Exact { "!" } else { "" };
        let name = |frame: &RawFrame| match frame.address {
            Some(address) => address.to_string(),
            None => lex::text(frame.symbol.of(text.as_bytes(), frame.line_start)),
        };
        let write = |frame: RawFrame| format!("{}{}+{:x}", mark(frame.lookup), name(&frame), frame.offset.unwrap_or(0));
        stacks[0].frames.iter().copied().map(write).collect()
    }

    #[test]
    fn every_machine_has_its_frames() {
        let arm64 = "db_trace_self() at db_trace_self_wrapper+0x30\n\t pc = 0xffffff80003c41a8  lr = 0xffffff8000014b08\n\
                     \t sp = 0xffffff8056fc14e0  fp = 0xffffff8056fc1610\n\n\
                     pause_sig() at 0xfffc\n\t pc = 0xffffff80003c41a8  lr = 0x0000fffc\n\t sp = 0x0041f8a0  fp = 0x00000000\n\n";
        assert_eq!(frames(arm64), ["!0xffffff80003c41a8+0", "db_trace_self_wrapper+30", "0xfffc+0"]);
        let arm = "vpanic() at vpanic+0x140\n\t pc = 0xc0312f20  lr = 0xc0312d00 (doadump)\n\t sp = 0xd4ba8c20  fp = 0xd4ba8c24\n\
                   \t r4 = 0x00000100  r5 = 0x00000000\n\tr10 = 0x00000001\npause_sig() at pause_sig+0x9\n\
                   \t pc = 0xc0312f20  lr = 0xc0312d00 (doadump)\n";
        assert_eq!(frames(arm), ["vpanic+140", "pause_sig+9"]);
        // Names by two strategies: arm prints the place of the function itself all the same.
        assert_eq!(frames(&arm.replacen("at vpanic", "at panic", 1)), ["panic+140", "pause_sig+9"]);
        let powerpc = "0xc00800001c1b1250: at vpanic+0x1d8\n\
                       0xc00800001c1b14f0: kernel DSI write trap @ 0xdeadc0dedeadc0de by kslab_wait+0x14: srr1=0x9000000000009032\n\
                       \x20           r1=0xc00800001c1b17a0 cr=0x24002088 xer=0x20040000\n0xc00800001c1b17a0: at pause_sig+0x8\n\
                       0xc00800001c1b1910: at -0x4\n";
        assert_eq!(frames(powerpc), ["!vpanic+1d8", "!kslab_wait+14", "!pause_sig+8"]);
        let located = "0x20: kernel DSI write trap @ 0x18 by kslab_wait+0x9 kslab.c:12:15: srr1=0x9000000000009032\n";
        assert_eq!(frames(located), ["!kslab_wait+9"]);
        let user = "0x10: at vpanic+0x1d8\n0x20: user SC trap by 0x1001: srr1=0x9000000000009032\n";
        assert_eq!(frames(user), ["!vpanic+1d8"]);
    }

    #[test]
    fn the_frame_behind_an_exception_is_the_interrupted_instruction() {
        for exception in ["exception, esr 0x96000004", "exception 13, tval = 0x18", "system error, esr 0xbf000000", "interrupt"] {
            let text = format!("data_abort() at data_abort+0x320\n--- {exception}\nkslab_wait() at kslab_wait+0x48\n(null)() at 0xfff10\n");
            assert_eq!(frames(&text), ["data_abort+320", "!kslab_wait+48", "0xfff10+0"]);
        }
    }
}

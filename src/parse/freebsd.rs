//! FreeBSD: panics and KDB backtraces, ddb and textdumps, `procstat -kk`, Ctrl-T, witness, `core.txt`.
//!
//! ```text
//! KDB: stack backtrace:
//! #7 0xffffffff810302fc at zio_wait+0xc                                      kernel without a debugger
//! vpanic() at vpanic+0x1e0/frame 0xfffffe004b9db6b0                          kernel with DDB
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
    use super::*;
    use crate::model::stack::{Lookup, Role, StackKind};

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
}

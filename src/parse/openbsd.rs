//! OpenBSD: panics, ddb, witness.
//!
//! ```text
//! panic: pool_do_put: mbufpl: double pool_put: 0xffffff001d506200
//! Stopped at      db_enter+0xa:   popq    %rbp
//!     TID    PID    UID     PRFLAGS     PFLAGS  CPU  COMMAND
//! *350399  57238      0           0  0x4000000    0  zfs
//! soreceive(38a,ffffff001a63c930,0,0,ffff80000e423648,ffffff001071db90) at sorece
//! ive+0x1fc                                                  ddb breaks lines at 79 columns
//! db_enter() at db_enter+24                                  decimal
//! end trace frame: 0x12eb78e82220, count: 4
//! ```
//! Kernels are linked anew at every boot, so that a symbol with its offset is all that lasts. `bsd_log` reads it.

use memchr::memmem;

use super::bsd_frame::Style;
use super::{Confidence, Format, Holds, bsd_log};
use crate::model::capture::{Capture, Os};

/// The format.
pub struct OpenBsd;

/// What other systems do not print.
const MARKERS: &[&[u8]] = &[
    b"\nend of kernel\n",
    b"\nend of kernel\r\n",
    b"end trace frame: 0x",
    b"ddb{",
    b"witness: ",
    b"uvm_fault(0x",
    b"lock order data w",
    b"    TID    PID    UID     PRFLAGS     PFLAGS",
    b"https://www.openbsd.org/ddb.html",
];

impl Format for OpenBsd {
    fn id(&self) -> &'static str {
        "openbsd"
    }
    fn about(&self) -> &'static str {
        "OpenBSD: panics, ddb traces (lines broken at 79 columns are joined), witness"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"panic: ", b"Stopped at", b"ddb{", b"ddb>", b"witness: ", b"uvm_fault(0x", b"end trace frame: "]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let styles = bsd_log::styles(head);
        let marked = MARKERS.iter().any(|marker| memmem::find(head, marker).is_some());
        let trapped = memmem::find(head, b"kernel: page fault trap, code=").is_some();
        let boot = memmem::find(head, b"\nOpenBSD ").is_some() || head.starts_with(b"OpenBSD ");
        let foreign = [Style::WithModule, Style::WithFrame, Style::Numbered].iter().any(|style| styles.contains(style));
        let own = [Style::Plain, Style::Short, Style::Port].iter().any(|style| styles.contains(style));
        match (foreign, own, marked) {
            (true, ..) => Confidence::No,
            (_, true, true) => Confidence::Certain,
            _ if styles.contains(&Style::Plain) || marked || boot || trapped => Confidence::Likely,
            _ => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        bsd_log::parse(text, self.id(), Os::OpenBsd)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::{Lookup, RawFrame, StackKind};

    const LOG: &str = "\
panic: kslab: negative count
Stopped at      db_enter+0x18:  addq    $0x8,%rsp
    TID    PID    UID     PRFLAGS     PFLAGS  CPU  COMMAND
* 45102  55868      0     0x14000      0x200    1K softnet
panic() at panic+0x15c
ddb{1}> machine ddbcpu 0
Stopped at      x86_ipi_db+0x12:        leave
x86_ipi_db(ffffffff82437ff0) at x86_ipi_db+0x12
pause_sig() at pause_sig+0x9
ddb{0}> trace
x86_ipi_db(ffffffff82437ff0) at x86_ipi_db+0x12
ddb{0}> mach ddbcpu 1
Stopped at      db_enter+0x18:  addq    $0x8,%rsp
panic() at panic+0x15c
ddb{1}> trace /t 0t72594
kslab_wait(1) at kslab_wait+0x9
ddb{1}> tr/p 0t72594
kslab_wait(1) at kslab_wait+0x9
";

    #[test]
    fn other_cpus_and_threads_are_not_the_crash() {
        let stacks = OpenBsd.parse(LOG.as_bytes()).stacks;
        let kinds: Vec<(StackKind, bool)> = stacks.iter().map(|stack| (stack.kind, stack.title.is_some())).collect();
        let (crash, thread) = ((StackKind::Crash, true), (StackKind::Thread, false));
        assert_eq!(kinds, [crash, thread, thread, crash, thread, thread]);
        let owners: Vec<(Option<u32>, Option<&str>)> = stacks.iter().map(|stack| (stack.cpu, stack.tid.as_deref())).collect();
        assert_eq!(
            owners,
            [(Some(1), Some("45102")), (Some(0), None), (Some(0), None), (Some(1), None), (None, Some("72594")), (None, None)]
        );
    }

    #[test]
    fn mips64_has_its_arguments_behind_the_name() {
        let text = "panic: trap\nStopped at      db_enter+0x18:  \n\
                    db_enter+0x18 ddb.c:1:2 (ffffffff81d2f0a0,98000000ff0b7b68,ffffffff81c0b3c8,0)  ra 0xffffffff8138\n0ef8 sp 0x98000000ff0b7cd0, sz 32\n\
                    k_general+0x150 (0,0,0,0)  ra 0x0 sp 0x98000000ff0b7cf0, sz 112\n(KERNEL TRAP)\n\
                    kslab_wait+0x8 (1,0,0,0)  ra 0xffffffff81380ef8 sp 0x98000000ff0b7d60, sz 0\nUser-level: pid 4439\n\
                    end trace frame: 0x98000000ff0b7e00, count: 12\n";
        assert_eq!(OpenBsd.sniff(text.as_bytes()), Confidence::Certain);
        let stacks = OpenBsd.parse(text.as_bytes()).stacks;
        assert_eq!((stacks.len(), stacks[0].kind), (1, StackKind::Crash));
        let frame = |frame: &RawFrame| {
            let name = String::from_utf8_lossy(frame.symbol.of(text.as_bytes(), frame.line_start)).into_owned();
            (name, frame.offset, frame.lookup == Lookup::Exact)
        };
        let frames: Vec<_> = stacks[0].frames.iter().map(frame).collect();
        let is = |name: &str, offset, exact| (name.to_string(), Some(offset), exact);
        assert_eq!(frames, [is("db_enter", 0x18, true), is("k_general", 0x150, false), is("kslab_wait", 8, true)]);
    }
}

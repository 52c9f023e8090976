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

    fn sniff(&self, head: &[u8]) -> Confidence {
        let styles = bsd_log::styles(head);
        let marked = MARKERS.iter().any(|marker| memmem::find(head, marker).is_some());
        let trapped = memmem::find(head, b"kernel: page fault trap, code=").is_some();
        let boot = memmem::find(head, b"\nOpenBSD ").is_some() || head.starts_with(b"OpenBSD ");
        let foreign = [Style::WithModule, Style::WithFrame, Style::Numbered].iter().any(|style| styles.contains(style));
        let own = styles.contains(&Style::Plain) || styles.contains(&Style::Short);
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
    use crate::model::stack::StackKind;

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
}

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

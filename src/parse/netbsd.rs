//! NetBSD: panics, ddb, `crash -M … bt`, sanitizers.
//!
//! ```text
//! [ 157.5698093] panic: lock error: Mutex: mutex_vector_exit,761: assertion failed
//! [ 157.5924708] cpu0: Begin traceback...
//! [ 157.5977590] vpanic() at netbsd:vpanic+0x214
//! [ 157.7124393] --- syscall (number 198) ---
//! [ 157.7250907] 77dca383f4aa:
//! [ 157.7250907] cpu0: End traceback...
//! ```
//! Stamps have seven digits behind the point (sys/kern/subr_prf.c). `bsd_log` reads it.

use memchr::memmem;

use super::bsd_frame::Style;
use super::{Confidence, Format, Holds, bsd_log, lex};
use crate::model::capture::{Capture, Os};

/// The format.
pub struct NetBsd;

impl Format for NetBsd {
    fn id(&self) -> &'static str {
        "netbsd"
    }
    fn about(&self) -> &'static str {
        "NetBSD: panics, ddb and crash(8) traces, sanitizer reports"
    }
    fn holds(&self) -> Holds {
        Holds::Stacks
    }
    fn marks(&self) -> &'static [&'static [u8]] {
        &[b"panic: ", b"Begin traceback", b"at netbsd:", b"fatal page fault in supervisor mode", b"NetBSD "]
    }

    fn sniff(&self, head: &[u8]) -> Confidence {
        let styles = bsd_log::styles(head);
        let stamps = lex::lines(head).filter(|line| is_stamped(line.bytes)).take(2).count();
        let said =
            [&b": Begin traceback..."[..], b"fatal page fault in supervisor mode"].iter().any(|words| memmem::find(head, words).is_some());
        let boot = memmem::find(head, b"\nNetBSD ").is_some() || head.starts_with(b"NetBSD ");
        let sanitizer = [&b"UBSan: Undefined Behavior in "[..], b"ASan: Unauthorized Access In ", b"MSan: Uninitialized "]
            .iter()
            .any(|words| memmem::find(head, words).is_some());
        match styles.contains(&Style::WithModule) || said {
            true => Confidence::Certain,
            false if stamps > 1 || sanitizer || boot => Confidence::Likely,
            false => Confidence::No,
        }
    }

    fn parse(&self, text: &[u8]) -> Capture {
        bsd_log::parse(text, self.id(), Os::NetBsd)
    }
}

/// Whether a line begins with `[ 157.5698093] `; older kernels and Linux print six digits behind the point.
fn is_stamped(line: &[u8]) -> bool {
    let Some(stamp) = line.strip_prefix(b"[").and_then(|rest| rest.split(|b| *b == b']').next()) else { return false };
    let mut parts = stamp.trim_ascii_start().split(|b| *b == b'.');
    let (seconds, fraction) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    lex::decimal(seconds).is_some() && fraction.len() == 7 && lex::decimal(fraction).is_some() && parts.next().is_none()
}

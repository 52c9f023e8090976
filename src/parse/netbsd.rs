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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::stack::{Lookup, RawFrame, Role};

    /// The frames of a panic's one stack: address, module, name and offset; `!` before those that are no return addresses, `T` before
    /// those where a trap came in.
    fn frames(text: &str) -> Vec<String> {
        let text = ["panic: kslab\ncpu0: Begin traceback...\n", text, "cpu0: End traceback...\n"].concat();
        assert_eq!(NetBsd.sniff(text.as_bytes()), Confidence::Certain);
        let stacks = NetBsd.parse(text.as_bytes()).stacks;
        assert_eq!(stacks.len(), 1);
        let write = |frame: RawFrame| {
            let of = |span: crate::model::stack::Span| lex::text(span.of(text.as_bytes(), frame.line_start));
            let address = frame.address.map_or(String::new(), |address| address.to_string());
            let (exact, trap) = (if frame.lookup == Lookup::Exact { "!" } else { "" }, if frame.role == Role::Regs { "T" } else { "" });
            format!("{trap}{exact}{address} {}:{}+{:x}", of(frame.module), of(frame.symbol), frame.offset.unwrap_or(0))
        };
        stacks[0].frames.iter().copied().map(write).collect()
    }

    #[test]
    fn aarch64_prints_the_calls_themselves_and_the_registers_of_traps() {
        let text = "trace fp ffffc000aabbcc10\n\
                    fp ffffc000aabbcc30 vpanic() at ffffc000004d9b64 netbsd:vpanic+0x160\n\
                    tf ffffc000aabbcf00 el1_trap() at ffffc00000001234 netbsd:el1_trap\n\
                    ---- Data Abort (EL1): trapframe 0xffffc000aabbcf00 (304 bytes) ----\n\
                    \x20   pc=ffffc00001234570,   spsr=0000000060000005\n    x0=0000000000000000,   x1=ffffc000aabbd000\n\
                    ------------------------------------------------\n\
                    fp ffffc000aabbd040 kslab_wait() at ffffc00001234570 kslab:kslab_wait+0x8\n\
                    fp ffffc000aabbd080 system ?() at ffffc00000ad8a3c\n";
        let expected = [
            "!0xffffc000004d9b64 netbsd:vpanic+160",
            "!0xffffc00000001234 netbsd:el1_trap+0",
            "T!0xffffc00001234570 kslab:kslab_wait+8",
            "!0xffffc00000ad8a3c :+0",
        ];
        assert_eq!(frames(text), expected);
    }

    #[test]
    fn arm_prints_the_stack_frame_first() {
        assert_eq!(
            frames("0xcaa0bc2c: netbsd:vpanic+0x194\n0xcaa0bc44: kslab:pause_sig+0x9\n"),
            [" netbsd:vpanic+194", " kslab:pause_sig+9"]
        );
    }
}

//! The kinds of crashes of reports that are no kernel log of Linux, macOS or a BSD: Go programs with gVisor, Fuchsia, lldb.
//!
//! Why a thread of lldb stopped: lldb/source/Plugins/Process/Utility/StopInfoMachException.cpp and FreeBSDKernel/ThreadFreeBSDKernel.cpp (LLVM 17).
//!
//! Sources of the headlines: runtime/panic.go and runtime/signal_unix.go of Go, pkg/sentry/watchdog and runsc of gVisor, the race detector;
//! zircon/kernel/lib/debuglog, zircon/kernel/arch/x86/faults.cc and src/starnix of Fuchsia; pkg/log of syzkaller.

use super::kind::{Kind, Seat, kind, later};
use Seat::{Nowhere, Place, Trace};

/// Whether a set is of such a system, which has sections of its own in the skip list.
pub fn is_own(set: &str) -> bool {
    matches!(set, "go" | "zircon")
}

/// The kinds that reports of a format are about, where it has its own.
pub fn of(format: &str) -> Option<&'static [Kind]> {
    match format {
        "go-trace" => Some(GO),
        "fuchsia" => Some(FUCHSIA),
        "lldb-bt" => Some(LLDB),
        _ => None,
    }
}

/// Why lldb says that a thread stopped, where that is a crash. In brackets stand codes and addresses.
pub static LLDB: &[Kind] = &[
    kind("kernel panic", "kernel panic in {}", Trace, ""),
    kind("EXC_* (", "EXC_{1} in {}", Trace, ""),
    kind("EXC_*", "EXC_{1} in {}", Trace, ""),
    kind("ESR_EC_* (", "ESR_EC_{1} in {}", Trace, ""),
    kind("ESR_EC_*", "ESR_EC_{1} in {}", Trace, ""),
    kind("signal *: ", "signal {1} in {}", Trace, ""),
    kind("signal *", "signal {1} in {}", Trace, ""),
];

/// What Go programs say, gVisor's sentry among them.
pub static GO: &[Kind] = &[
    kind("WARNING: DATA RACE", "DATA RACE in {/}", Trace, "go"),
    later("Invalid request partialResult * for * operation", &[], "Invalid request partialResult in {2}", Place, "go"),
    kind("panic: Sentry detected * stuck task", "panic: Sentry detected stuck tasks", Nowhere, "go"),
    kind("panic: *", "panic: {1}", Trace, "go"),
    kind("Panic: *", "Panic: {1}", Trace, "go"),
    kind("fatal error: *", "fatal error: {1}", Trace, "go"),
    kind("SIGSEGV: *", "SIGSEGV: {1}", Trace, "go"),
    kind("SIGBUS: *", "SIGBUS: {1}", Trace, "go"),
    kind("SIGILL: *", "SIGILL: {1}", Trace, "go"),
    kind("SIGFPE: *", "SIGFPE: {1}", Trace, "go"),
    kind("FATAL ERROR: *", "FATAL ERROR: {1}", Nowhere, "go"),
    kind("SYZFATAL: *", "SYZFATAL: {1}", Nowhere, "go"),
    kind("SYZFAIL: *", "SYZFAIL: {1}", Nowhere, "go"),
];

/// What Zircon died of with a stack: as it prints stacks itself, in markup, and symbolized.
macro_rules! with_stack {
    ($what:literal, $title:literal) => {
        [
            later("ZIRCON KERNEL PANIC", &[$what, "bt#00: "], $title, Trace, "zircon"),
            later("ZIRCON KERNEL PANIC", &[$what, "{{{bt:0"], $title, Trace, "zircon"),
            later("ZIRCON KERNEL PANIC", &[$what, "#0"], $title, Trace, "zircon"),
        ]
    };
}

const ASSERT: [Kind; 3] = with_stack!("*ASSERT FAILED at (*): *", "ASSERT FAILED in {} | ASSERT FAILED: {3}");
/// Where another CPU's lines tore the condition.
const TORN: [Kind; 3] = with_stack!("*ASSERT FAILED at (", "ASSERT FAILED in {}");
const TWICE: [Kind; 3] = with_stack!("*double fault, halting", "double fault in {}");

/// What Zircon, Starnix and the programs on them say. Registers that are printed without a stack behind an assertion are of what failed
/// next: they tell nothing about it.
pub static FUCHSIA: &[Kind] = &{
    let [assert, assert_markup, assert_symbolized] = ASSERT;
    let [torn, torn_markup, torn_symbolized] = TORN;
    let [twice, twice_markup, twice_symbolized] = TWICE;
    [
        assert,
        assert_markup,
        assert_symbolized,
        torn,
        torn_markup,
        torn_symbolized,
        later("ZIRCON KERNEL PANIC", &["*ASSERT FAILED at (*): *"], "ASSERT FAILED: {3}", Nowhere, "zircon"),
        twice,
        twice_markup,
        twice_symbolized,
        later("ZIRCON KERNEL PANIC", &["*double fault, halting"], "double fault", Nowhere, "zircon"),
        later("ZIRCON KERNEL PANIC", &["*Supervisor Page Fault exception, halting"], "Supervisor Fault in {}", Trace, "zircon"),
        later("ZIRCON KERNEL PANIC", &["*recursion in interrupt handler"], "recursion in interrupt handler in {}", Trace, "zircon"),
        later("ZIRCON KERNEL PANIC", &["*KVM internal error"], "KVM internal error", Nowhere, "zircon"),
        kind("ZIRCON KERNEL PANIC", "KERNEL PANIC in {}", Trace, "zircon"),
        // Rust told the message before the place until 1.72.
        later("STARNIX KERNEL PANIC", &["*panicked at '*', *:"], "starnix kernel panic in {3}: {2}", Trace, "zircon"),
        later("STARNIX KERNEL PANIC", &["*panicked at *:", "*"], "starnix kernel panic in {2}: {3}", Trace, "zircon"),
        kind("STARNIX KERNEL PANIC", "starnix kernel panic in {}", Trace, "zircon"),
        kind("recursion in interrupt handler", "recursion in interrupt handler in {}", Trace, "zircon"),
        kind("welcome to Zircon", "unexpected kernel reboot", Nowhere, "zircon"),
        kind("KVM internal error", "KVM internal error", Nowhere, "zircon"),
        kind("<== fatal exception: process *[", "fatal exception in {.1}", Nowhere, "zircon"),
        // Programs of Fuchsia that are written in Go.
        kind("panic: *", "panic: {1}", Nowhere, "zircon"),
        kind("SYZFATAL: *", "SYZFATAL: {1}", Nowhere, "zircon"),
        kind("SYZFAIL: *", "SYZFAIL: {1}", Nowhere, "zircon"),
    ]
};

/// The name of a program without the device or component that it runs for: `devhost` of `devhost:pci#2`.
pub fn program(name: &str) -> &str {
    let end = name.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '/' | '-'));
    &name[..end.unwrap_or(name.len())]
}

/// What a report says, without the names of single containers, sandboxes and processes, and without the way from where it was built.
pub fn plain(text: &str) -> String {
    let text = quoted(text.trim_start_matches("../"), "container");
    let text = quoted(&text, "sandbox");
    let mut plain = String::new();
    let mut rest = text.as_str();
    while let Some(at) = ["pid ", "PID "].iter().filter_map(|word| rest.find(word)).min() {
        let after = &rest[at + 4..];
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        plain.push_str(&rest[..at]);
        plain.push_str(if digits > 0 { "pid X" } else { &rest[at..at + 4] });
        rest = &after[digits..];
    }
    numbered(&(plain + rest))
}

/// Shortest number that differs from run to run, in digits: addresses, and what directories of fuzzers have in their names.
const RUN: usize = 6;

/// Numbers that tell nothing by what stands around them: `dirNUM`, `ADDR` for long ones, `a.go:LINE`, `IP`.
fn numbered(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        plain.push_str(&rest[..start]);
        let word = &rest[start..];
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (before, after) = (plain.chars().next_back(), word[digits..].chars().next());
        let ends = !after.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let begins = !before.is_some_and(|c| c.is_alphanumeric() || c == '_');
        let (len, becomes) = match (address(word), before) {
            (Some(len), _) if begins && before != Some('.') => (len, "IP"),
            (_, Some(':')) if ends && is_file(&plain[..plain.len() - 1]) => (lines(word), "LINE"),
            _ if digits >= RUN && ends && is_word(&plain) => (digits, "NUM"),
            _ if digits >= RUN && begins && ends => (digits, "ADDR"),
            _ => (digits, &word[..digits]),
        };
        plain.push_str(becomes);
        rest = &word[len..];
    }
    plain + rest
}

/// The length of the `10.0.0.1` that `text` begins with.
fn address(text: &str) -> Option<usize> {
    let len = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let len = text[..len].trim_end_matches('.').len();
    let parts = || text[..len].split('.');
    (parts().count() == 4 && parts().all(|part| matches!(part.len(), 1..=3))).then_some(len)
}

/// Whether `text` ends in a word of letters alone: digits behind others are hexadecimal.
fn is_word(text: &str) -> bool {
    let letters = text.trim_end_matches(char::is_alphabetic);
    letters.len() < text.len() && !letters.ends_with(|c: char| c.is_numeric())
}

/// Whether `text` ends in the name of a file: `a.go`.
fn is_file(text: &str) -> bool {
    let name = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || c == '_');
    name.len() < text.len() && name.ends_with('.')
}

/// The length of the `12:34` that `text` begins with.
fn lines(text: &str) -> usize {
    let len = text.find(|c: char| !c.is_ascii_digit() && c != ':').unwrap_or(text.len());
    text[..len].trim_end_matches(':').len()
}

/// `container NAME` for `container "a"`, up to the last quote: names can have quotes in them.
fn quoted(text: &str, word: &str) -> String {
    let start = format!("{word} \"");
    match text.find(&start).map(|at| (at, text.rfind('"').unwrap_or(0))) {
        Some((at, close)) if close >= at + start.len() => format!("{}{word} NAME{}", &text[..at], &text[close + 1..]),
        _ => text.to_string(),
    }
}

/// A title of one line of ASCII with single blanks: that is how bug trackers keep those of these systems.
pub fn squeezed(title: &str) -> String {
    let ascii: String = title.chars().filter(char::is_ascii).collect();
    ascii.split(|c: char| c == ' ' || c.is_control()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_name_no_single_process_or_sandbox() {
        for (text, want) in [
            ("waiting on PID 16 in sandbox \"a-0\": method \"b.C\" failed: EOF", "waiting on pid X in sandbox NAME failed: EOF"),
            ("container \"a\": EOF", "container NAME: EOF"),
            ("pid none, sandbox \"", "pid none, sandbox \""),
            ("../../src/a.rs", "src/a.rs"),
            ("mkdir ./dir264563108: x86_64 0xf123456 123456", "mkdir ./dirNUM: x86_64 0xf123456 ADDR"),
            ("a.go:12:34: x 10.0.0.1:80 1.2.3.4.5 b:7 c.rs:", "a.go:LINE: x IP:80 1.2.3.4.5 b:7 c.rs:"),
            ("", ""),
        ] {
            assert_eq!(plain(text), want);
        }
        assert_eq!((program("devhost:pci#2"), program("/tmp/a-b_c")), ("devhost", "/tmp/a-b_c"));
        assert_eq!(squeezed(" a \u{e9} b "), "a b");
    }
}
